"""What a simulation says: waits, shares, holds, fairness, per tier and tenant; plain values, the same bytes
for the same seed.

Definitions, so that every figure can be computed by hand:

* **queue_time**: from arrival to start, of what started. A quantile is the smallest value that at least that
  share of them do not exceed.
* **share**: of all worker-seconds that were used.
* **held**: summed over tenants, how long the engine held them, by the limit that bound.
* **starvation**: the longest stretch in which a tenant had something waiting, nothing held it, and none of
  its actions started.
* **fairness**: Jain's index (R. Jain, D. Chiu and W. Hawe, "A Quantitative Measure of Fairness and
  Discrimination for Resource Allocation in Shared Computer Systems", DEC TR-301, 1984) over the tenants'
  *pace*: the part of its actions' time between arrival and end that they ran. 1: all tenants were slowed
  down alike; 1/n: one ran, the others waited.
* **makespan**: from the first arrival to the last end.
* **utilisation**: used worker-seconds of those there were from the first arrival to the last one, or, when
  all arrive at once, to the last end.
* **peak slots**: the most that were in use at one moment.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from itertools import accumulate
from typing import Any

from .intervals import Intervals
from .runner import Ran, Simulated

BUCKETS = 60
"""Points of a plot over time."""


@dataclass(frozen=True)
class Waits:
    """Quantiles of queue_time in ms; None when nothing started."""

    p50: int | None
    p95: int | None
    p99: int | None
    max: int | None

    @classmethod
    def of(cls, values: Iterable[int]) -> Waits:
        """The quantiles of some waits."""
        ordered = sorted(values)
        if not ordered:
            return cls(None, None, None, None)
        p50, p95, p99 = (ordered[math.ceil(q * len(ordered)) - 1] for q in (0.50, 0.95, 0.99))
        return cls(p50, p95, p99, ordered[-1])


@dataclass(frozen=True)
class TenantReport:
    """One tenant in one tier. Times in ms."""

    tenant: str
    tier: str
    arrived: int
    started: int
    refused: int
    timed_out: int
    queue_ms: Waits
    worker_ms: int
    share: float
    pace: float
    held_ms: dict[str, int]
    starvation_ms: int


@dataclass(frozen=True)
class Bucket:
    """What arrived in one stretch of time and started: how long it waited."""

    from_ms: int
    started: int
    p50: int
    p95: int
    p99: int


@dataclass(frozen=True)
class TierReport:
    """One tier. ``held_ms``: by limit. ``tenants_held``: how many were held at all."""

    tier: str
    tenants: int
    arrived: int
    started: int
    refused: dict[str, int]
    timed_out: int
    queue_ms: Waits
    worker_ms: int
    share: float
    fairness: float | None
    held_ms: dict[str, int]
    tenants_held: int
    starvation_ms: int
    starved_tenant: str
    over_time: list[Bucket] = field(default_factory=list)


@dataclass(frozen=True)
class Report:
    """One policy on one fleet. ``peak_slots``: most in use at once. ``schedule_sha256``: of all starts."""

    policy: str
    workers: int
    slots: int
    arrived: int
    started: int
    refused: int
    timed_out: int
    queue_ms: Waits
    makespan_ms: int
    utilisation: float
    peak_slots: int
    fairness: float | None
    starvation_ms: int
    schedule_sha256: str
    tiers: list[TierReport]
    tenants: list[TenantReport]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    @property
    def had_a_free_slot(self) -> bool:
        """At every moment: nothing waited for one, and more workers would change nothing."""
        return self.peak_slots < self.workers * self.slots

    def tier(self, name: str) -> TierReport | None:
        """One tier, None when nothing of it arrived."""
        return next((tier for tier in self.tiers if tier.tier == name), None)


def report_on(simulated: Simulated) -> Report:
    """Add up what came of a load."""
    return _Sums(simulated).report()


def jain(values: Sequence[float]) -> float | None:
    """Jain's index of fairness; None of nothing."""
    squares = sum(value * value for value in values)
    return sum(values) ** 2 / (len(values) * squares) if squares else None


class _Sums:
    def __init__(self, simulated: Simulated) -> None:
        self._simulated = simulated
        self._ran: dict[tuple[str, str], list[Ran]] = defaultdict(list)
        for ran in simulated.ran:
            self._ran[ran.arrival.tier, ran.arrival.tenant].append(ran)
        self._refused: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
        for arrival, why in simulated.refused:
            self._refused[arrival.tier, arrival.tenant][why] += 1
        self._held_ms: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
        self._held: dict[tuple[str, str], list[tuple[int, int]]] = defaultdict(list)
        for held in simulated.held:
            tenant, _, tier = held.scope.rpartition(":")
            self._held_ms[tier, tenant][held.why] += held.until_ms - held.from_ms
            self._held[tier, tenant].append((held.from_ms, held.until_ms))
        self._used_ms = sum(ran.end_ms - ran.start_ms for ran in simulated.ran)

    def report(self) -> Report:
        """All of it."""
        simulated, policy = self._simulated, self._simulated.policy
        everybody = sorted({*self._ran, *self._refused})
        tenants = [self._tenant(tier, tenant) for tier, tenant in everybody]
        order = policy.names(simulated.load.domain)
        present = {tier for tier, _ in everybody}
        tiers = [
            self._tier(tier, [each for each in tenants if each.tier == tier])
            for tier in order
            if tier in present
        ]
        arrivals = simulated.load.arrivals
        last_ms = max((ran.end_ms for ran in simulated.ran), default=0)
        makespan_ms = max(last_ms - arrivals[0].at_ms, 0) if arrivals else 0
        return Report(
            policy=policy.source,
            workers=simulated.fleet.workers,
            slots=simulated.fleet.slots,
            arrived=len(arrivals),
            started=len(simulated.ran),
            refused=len(simulated.refused),
            timed_out=sum(ran.cut for ran in simulated.ran),
            queue_ms=Waits.of(ran.queue_ms for ran in simulated.ran),
            makespan_ms=makespan_ms,
            utilisation=self._utilisation(last_ms),
            peak_slots=_peak(simulated.ran),
            fairness=_fairness(tenants),
            starvation_ms=max((tenant.starvation_ms for tenant in tenants), default=0),
            schedule_sha256=_digest(simulated.ran),
            tiers=tiers,
            tenants=sorted(tenants, key=lambda each: (order.index(each.tier), -each.worker_ms, each.tenant)),
        )

    def _utilisation(self, last_end_ms: int) -> float:
        arrivals = self._simulated.load.arrivals
        if not arrivals:
            return 0.0
        from_ms, until_ms = arrivals[0].at_ms, arrivals[-1].at_ms
        until_ms = last_end_ms if until_ms == from_ms else until_ms
        used_ms = sum(max(min(ran.end_ms, until_ms) - ran.start_ms, 0) for ran in self._simulated.ran)
        there_ms = (until_ms - from_ms) * self._simulated.fleet.all_slots
        return _rounded(used_ms / there_ms) if there_ms > 0 else 0.0

    def _tenant(self, tier: str, tenant: str) -> TenantReport:
        ran, refused = self._ran.get((tier, tenant), []), self._refused[tier, tenant]
        worker_ms = sum(each.end_ms - each.start_ms for each in ran)
        there_ms = sum(each.end_ms - each.arrival.at_ms for each in ran)
        return TenantReport(
            tenant=tenant,
            tier=tier,
            arrived=len(ran) + refused.total(),
            started=len(ran),
            refused=refused.total(),
            timed_out=sum(each.cut for each in ran),
            queue_ms=Waits.of(each.queue_ms for each in ran),
            worker_ms=worker_ms,
            share=_rounded(worker_ms / self._used_ms) if self._used_ms else 0.0,
            pace=_rounded(worker_ms / there_ms) if there_ms else 0.0,
            held_ms=dict(sorted(self._held_ms[tier, tenant].items())),
            starvation_ms=self._starvation_ms(tier, tenant, ran),
        )

    def _starvation_ms(self, tier: str, tenant: str, ran: Sequence[Ran]) -> int:
        held = Intervals([*self._held[tier, tenant], *self._held[tier, "*"]])
        longest, last_start_ms = 0, 0
        for each in ran:  # in the order of their starts, which is that of their arrivals
            since_ms = max(each.arrival.at_ms, last_start_ms)
            longest = max(longest, each.start_ms - since_ms - held.within(since_ms, each.start_ms))
            last_start_ms = each.start_ms
        return longest

    def _tier(self, tier: str, tenants: Sequence[TenantReport]) -> TierReport:
        ran = [each for tenant in tenants for each in self._ran.get((tier, tenant.tenant), ())]
        refused: Counter[str] = Counter()
        held: Counter[str] = Counter(self._held_ms[tier, "*"])
        for tenant in tenants:
            refused += self._refused[tier, tenant.tenant]
            held += Counter(tenant.held_ms)
        starved = max(tenants, key=lambda each: each.starvation_ms)
        worker_ms = sum(each.worker_ms for each in tenants)
        return TierReport(
            tier=tier,
            tenants=len(tenants),
            arrived=sum(each.arrived for each in tenants),
            started=len(ran),
            refused=dict(sorted(refused.items())),
            timed_out=sum(each.timed_out for each in tenants),
            queue_ms=Waits.of(each.queue_ms for each in ran),
            worker_ms=worker_ms,
            share=_rounded(worker_ms / self._used_ms) if self._used_ms else 0.0,
            fairness=_fairness(tenants),
            held_ms=dict(sorted(held.items())),
            tenants_held=sum(bool(each.held_ms) for each in tenants),
            starvation_ms=starved.starvation_ms,
            starved_tenant=starved.tenant if starved.starvation_ms else "",
            over_time=self._over_time(ran),
        )

    def _over_time(self, ran: Sequence[Ran]) -> list[Bucket]:
        last_ms = self._simulated.load.arrivals[-1].at_ms
        width = max(math.ceil((last_ms + 1) / BUCKETS), 1)
        waits: dict[int, list[int]] = defaultdict(list)
        for each in ran:
            waits[each.arrival.at_ms // width].append(each.queue_ms)
        made = []
        for number, values in sorted(waits.items()):
            at = Waits.of(values)
            made.append(Bucket(number * width, len(values), at.p50 or 0, at.p95 or 0, at.p99 or 0))
        return made


def _fairness(tenants: Sequence[TenantReport]) -> float | None:
    index = jain([tenant.pace for tenant in tenants if tenant.started])
    return None if index is None else _rounded(index)


def _peak(ran: Iterable[Ran]) -> int:
    """Most that ran at once; what ends at a moment makes room for what starts then."""
    changes = [change for each in ran for change in ((each.start_ms, 1), (each.end_ms, -1))]
    return max(accumulate(change for _, change in sorted(changes)), default=0)


def _rounded(value: float) -> float:
    return round(value, 6)


def _digest(ran: Sequence[Ran]) -> str:
    digest = hashlib.sha256()
    for each in ran:
        digest.update(f"{each.number} {each.worker} {each.start_ms} {each.end_ms}\n".encode())
    return digest.hexdigest()
