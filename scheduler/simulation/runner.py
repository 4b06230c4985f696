"""Plays a load on the shipping scripts: workers, their slots and their sleep, under a clock by hand.

Time jumps from one event to the next: an arrival, an end, something held that is due. A worker does what a
real one does (``nooble_tasks/turns.py``): it hands in what ended and claims in one step, at most half of its
slots at a time while there is plenty, sleeps when a claim brought less than it asked for, and wakes when the
engine says so in its mailbox or when what the claim announced is due. At one moment arrivals come first,
then ends, then who was woken, in the order of their numbers: the same load gives the same schedule.
"""

from __future__ import annotations

import heapq
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ..clock import ManualClock
from ..engine import Engine
from ..errors import nearest
from ..model import Claimed, Finish, NewAction, Outcome
from ..registry import Registry
from ..tiers import Policy
from ..usage import tenant_limits
from .arrivals import Arrival, Load
from .errors import SimulationError
from .held import Held, HeldTime
from .wire import Wire

_LEASE_MS = 100 * 366 * 86_400_000  # nobody dies here
_WHO = "simulation"


class Fleet(NamedTuple):
    """``workers`` processes with ``slots`` each."""

    workers: int
    slots: int

    @property
    def all_slots(self) -> int:
        """How many actions can run at once."""
        return self.workers * self.slots


class Ran(NamedTuple):
    """One action that started: number ``number`` of the load, on ``worker`` from ``start_ms`` to ``end_ms``.

    ``cut``: its tier's timeout ended it.
    """

    number: int
    arrival: Arrival
    worker: int
    start_ms: int
    end_ms: int
    cut: bool

    @property
    def queue_ms(self) -> int:
        """From its arrival to its start."""
        return self.start_ms - self.arrival.at_ms


@dataclass
class Simulated:
    """What came of a load. Times are ms from the load's beginning."""

    load: Load
    policy: Policy
    fleet: Fleet
    ran: list[Ran] = field(default_factory=list)
    refused: list[tuple[Arrival, str]] = field(default_factory=list)
    held: list[Held] = field(default_factory=list)


@dataclass(eq=False)
class _Worker:
    number: int
    name: str
    running: int = 0
    claimable: bool = True
    ended: list[tuple[int, Claimed]] = field(default_factory=list)


Progress = Callable[[int], None]
"""Called with how many more actions are through."""


async def simulate(
    redis: Any, load: Load, policy: Policy, fleet: Fleet, *, progress: Progress | None = None
) -> Simulated:
    """Play ``load`` under ``policy`` on an empty server; its data stay there.

    Raises :class:`SimulationError` for a tier that the policy does not have, when the server holds data, or
    when nothing would ever start again.
    """
    for tier in load.tiers():
        if tier not in policy.tiers:
            known = policy.names(load.domain)
            raise SimulationError(
                f"{load.name or load.domain} has tenants of the tier {tier!r}{nearest(tier, known)}; "
                f"{policy.source} has {', '.join(known)}"
            )
    if fleet.workers < 1 or fleet.slots < 1:
        raise SimulationError("a fleet has at least one worker with one slot")
    if held := await redis.dbsize():
        raise SimulationError(f"the server holds {held} keys; a simulation needs an empty one of its own")
    return await _Simulation(redis, load, policy, fleet, progress or (lambda _: None)).run()


class _Simulation:
    def __init__(self, redis: Any, load: Load, policy: Policy, fleet: Fleet, progress: Progress) -> None:
        self._load, self._domain, self._fleet = load, load.domain, fleet
        self._redis, self._progress = redis, progress
        self._clock = ManualClock(load.start_ms)
        self._engine = Engine(redis, policy=policy, clock=self._clock, lease_ms=_LEASE_MS)
        self._looking = Engine(redis, policy=policy, clock=self._clock)  # beside the workers' connection
        digits = len(str(fleet.workers))
        self._workers = [_Worker(n, f"w{n:0{digits}}") for n in range(1, fleet.workers + 1)]
        self._by_name = {worker.name: worker for worker in self._workers}
        self._asleep: set[str] = set()
        self._wire = Wire(redis, self._engine.keys, self._domain, self._asleep)
        self._at_once = (fleet.slots + 1) // 2
        self._timeouts = {
            name: round(policy.tier(name, self._domain).timeout * 1000) for name in policy.tiers
        }
        self._ends: list[tuple[int, int, int, Claimed]] = []
        self._due: list[tuple[int, int]] = []
        self._turns: deque[_Worker] = deque()
        self._held = HeldTime()
        self._waiting: Counter[str] = Counter()
        compiled = policy.compile(self._domain)
        self._shared = {tier.name for tier in compiled.tiers if tier.tier_limits or compiled.domain_limits}
        self._result = Simulated(load, policy, fleet)

    async def run(self) -> Simulated:
        """Until everything has ended."""
        await self._prepare()
        arrivals, at = self._load.arrivals, 0
        while at < len(arrivals) or self._ends or self._waiting:
            now_ms = self._next_event(arrivals[at].at_ms if at < len(arrivals) else None)
            self._clock.set(self._load.start_ms + now_ms)
            first = at
            while at < len(arrivals) and arrivals[at].at_ms <= now_ms:
                at += 1
            if at > first:
                await self._arrive(arrivals[first:at], first, now_ms)
            self._end(now_ms)
            await self._take_turns(now_ms)
        self._held.end_all(max((ran.end_ms for ran in self._result.ran), default=0))
        self._result.held = self._held.over
        return self._result

    async def _prepare(self) -> None:
        """Policy published, tenants registered, workers joined and asleep."""
        await self._redis.sadd(self._engine.keys.shared("domains"), self._domain)
        await self._engine.publish_policy(self._domain)
        tiers: dict[str, str] = {}
        rank = {name: at for at, name in enumerate(self._engine.policy.names(self._domain))}
        for arrival in self._load.arrivals:
            best = tiers.setdefault(arrival.tenant, arrival.tier)
            if rank[arrival.tier] < rank[best]:
                tiers[arrival.tenant] = arrival.tier
        await Registry(self._engine).register_many(tiers, by=_WHO, why="tenants of the load")
        for worker in self._workers:
            await self._engine.extend(self._domain, worker.name, register=True)
        self._engine.redis = self._wire
        for worker in self._workers:
            await self._turn(worker, 0)

    def _next_event(self, arrival_ms: int | None) -> int:
        events = [] if arrival_ms is None else [arrival_ms]
        events += [self._ends[0][0]] if self._ends else []
        events += [self._due[0][0]] if self._due else []
        if not events:
            waiting = sum(self._waiting.values())
            raise SimulationError(f"{waiting} actions wait and nothing would ever start them")
        return min(events)

    async def _arrive(self, arrivals: Sequence[Arrival], first: int, now_ms: int) -> None:
        actions = [
            NewAction(str(first + n), each.action_type, each.tenant, each.tier, b"{}")
            for n, each in enumerate(arrivals)
        ]
        for arrival, enqueued in zip(
            arrivals, await self._engine.enqueue(self._domain, actions), strict=True
        ):
            if enqueued.accepted:
                self._waiting[f"{arrival.tenant}:{enqueued.tier}"] += 1
            else:
                why = enqueued.refusal.reason.value if enqueued.refusal else "duplicate"
                self._result.refused.append((arrival, why))
                self._progress(1)
        self._look(now_ms)

    def _end(self, now_ms: int) -> None:
        """Ends that are there now, and workers for which something is due."""
        while self._ends and self._ends[0][0] <= now_ms:
            _, number, of_worker, claimed = heapq.heappop(self._ends)
            worker = self._workers[of_worker - 1]
            worker.running -= 1
            worker.ended.append((number, claimed))
            self._next_turn(worker)
        while self._due and self._due[0][0] <= now_ms:
            worker = self._workers[heapq.heappop(self._due)[1] - 1]
            worker.claimable = True
            self._next_turn(worker)

    def _next_turn(self, worker: _Worker) -> None:
        if worker not in self._turns:
            self._turns.append(worker)

    async def _take_turns(self, now_ms: int) -> None:
        while self._turns:
            await self._turn(self._turns.popleft(), now_ms)

    async def _turn(self, worker: _Worker, now_ms: int) -> None:
        """One turn of one worker; it takes another while there is plenty and it has room."""
        ended, worker.ended = worker.ended, []
        finishes = [self._finish(claimed, number, now_ms) for number, claimed in ended]
        slots = min(self._fleet.slots - worker.running, self._at_once) if worker.claimable else 0
        if not slots:
            if finishes:
                await self._engine.finish(self._domain, worker.name, finishes)
                self._look(now_ms)
            return
        self._asleep.discard(worker.name)
        _, claim = await self._engine.finish_and_claim(self._domain, worker.name, finishes, slots)
        for claimed in claim.actions:
            self._start(worker, claimed, now_ms)
        worker.claimable = claim.more or len(claim.actions) >= slots
        if not worker.claimable:
            self._asleep.add(worker.name)
            if claim.next_due_ms:
                due_ms = max(claim.next_due_ms - self._load.start_ms, now_ms + 1)
                heapq.heappush(self._due, (due_ms, worker.number))
        elif worker.running < self._fleet.slots:
            self._next_turn(worker)
        self._look(now_ms)
        if not worker.claimable:
            await self._see_shared_limits(now_ms)

    def _finish(self, claimed: Claimed, number: int, now_ms: int) -> Finish:
        self._held.finished(f"{claimed.tenant_id}:{claimed.tier}", now_ms)
        self._progress(1)
        run_ms = now_ms + self._load.start_ms - claimed.claimed_ms
        if self._load.arrivals[number].run_ms > self._timeouts[claimed.tier]:
            return Finish(claimed, Outcome.DEAD, reason="timeout", run_time_us=run_ms * 1000)
        return Finish(claimed, Outcome.COMPLETED, run_time_us=run_ms * 1000)

    def _start(self, worker: _Worker, claimed: Claimed, now_ms: int) -> None:
        number, scope = int(claimed.action_id), f"{claimed.tenant_id}:{claimed.tier}"
        arrival, most_ms = self._load.arrivals[number], self._timeouts[claimed.tier]
        end_ms = now_ms + max(min(arrival.run_ms, most_ms), 1)
        self._held.end(scope, now_ms)
        self._held.end(f"*:{claimed.tier}", now_ms)
        self._waiting[scope] -= 1
        if not self._waiting[scope]:
            del self._waiting[scope]
        worker.running += 1
        heapq.heappush(self._ends, (end_ms, number, worker.number, claimed))
        self._result.ran.append(
            Ran(
                number,
                arrival._replace(tier=claimed.tier),
                worker.number,
                now_ms,
                end_ms,
                arrival.run_ms > most_ms,
            )
        )

    def _look(self, now_ms: int) -> None:
        """Who was woken, and who is held."""
        for hold in self._wire.take_holds():
            self._held.begin(hold.scope, hold.why, now_ms, hold.free_at_ms - self._load.start_ms)
        for name in self._wire.woken():
            self._asleep.discard(name)
            worker = self._by_name[name]
            worker.claimable = True
            self._next_turn(worker)

    async def _see_shared_limits(self, now_ms: int) -> None:
        """Somebody has a free slot and a tier's tenants wait unheld: its shared limits are in the way."""
        if not self._shared:
            return
        free = sorted(scope for scope in self._waiting if not self._held.is_held(scope, now_ms))
        for tenant, _, tier in (scope.rpartition(":") for scope in free):
            if tier in self._shared and not self._held.is_held(f"*:{tier}", now_ms):
                why = await self._shared_limit(tenant, tier)
                self._held.begin(f"*:{tier}", why, now_ms, float("inf"))

    async def _shared_limit(self, tenant: str, tier: str) -> str:
        """Which limit of all its tenants a tier waits for: of those used up the one that frees last."""
        limits = (await tenant_limits(self._looking, self._domain, tenant, tier)).limits
        spent = [each for each in limits if each.scope in ("tier", "domain") and not each.remaining]
        last = max(spent, key=lambda each: each.more_at_ms, default=None)
        return f"{last.name} of the {last.scope}" if last else "shared limits"


__all__ = ["Fleet", "Progress", "Ran", "Simulated", "simulate"]
