"""Runs simulations on a temporary server: every policy on every fleet, and the search for the smallest."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from pathlib import PurePath
from typing import Any, NamedTuple

from nooble_tasks._engine import Policy, simulation

from .console import err
from .figures import duration

_OPTIONS = {"appendonly": "no", "maxmemory": "0"}


class Question(NamedTuple):
    """What is to be found out."""

    load: simulation.Load
    policies: Sequence[str]
    fleets: Sequence[simulation.Fleet]
    targets: Sequence[str]
    max_workers: int


class Verdict(NamedTuple):
    """Whether a policy on a fleet meets a target, and the figure it has."""

    target: str
    policy: str
    workers: int
    slots: int
    value_ms: int
    met: bool


class Smallest(NamedTuple):
    """How many workers a policy needs to meet all targets; None: not with the most ``tried``, and ``why``."""

    policy: str
    slots: int
    workers: int | None
    tried: int
    why: str = ""


@dataclass
class Answer:
    """What came out of it."""

    load: simulation.Load
    reports: list[simulation.Report] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    smallest: list[Smallest] = field(default_factory=list)

    @property
    def kept(self) -> bool:
        """Whether each policy meets all targets on one of the fleets."""
        for policy in {verdict.policy for verdict in self.verdicts}:
            missed = {(v.workers, v.slots) for v in self.verdicts if v.policy == policy and not v.met}
            tried = {(v.workers, v.slots) for v in self.verdicts if v.policy == policy}
            if not tried - missed:
                return False
        return True

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        arrivals = self.load.arrivals
        return {
            "load": {
                "name": self.load.name,
                "domain": self.load.domain,
                "start_ms": self.load.start_ms,
                "actions": len(arrivals),
                "tenants": len({arrival.tenant for arrival in arrivals}),
                "span_ms": arrivals[-1].at_ms - arrivals[0].at_ms if arrivals else 0,
            },
            "runs": [report.to_dict() for report in self.reports],
            "targets": [verdict._asdict() for verdict in self.verdicts],
            "smallest": [each._asdict() for each in self.smallest],
        }


MOST = {"workers": 10_000, "slots": 500}


def fleets(workers: int, slots: int, what_if: Sequence[str]) -> list[simulation.Fleet]:
    """The fleets of `--what-if workers=4,8 --what-if slots=5,10`; raises OptionError."""
    asked: dict[str, set[int]] = {}
    for text in what_if:
        name, _, numbers = text.partition("=")
        values = [number.strip() for number in numbers.split(",")]
        if name not in MOST or not all(each.isdecimal() and 0 < int(each) <= MOST[name] for each in values):
            bounds = " and ".join(f"1 to {most:,} {what}" for what, most in MOST.items())
            raise simulation.OptionError(
                f"--what-if {text!r}: write workers=4,8,16 or slots=5,10; of {bounds}"
            )
        asked.setdefault(name, set()).update(map(int, values))
    tried = product(sorted(asked.get("slots", {slots})), sorted(asked.get("workers", {workers})))
    return [simulation.Fleet(w, s) for s, w in tried]


async def answer(question: Question) -> Answer:
    """Simulate what was asked for."""
    policies = [Policy.load(path) for path in question.policies]
    for policy in policies:
        for text in question.targets:
            simulation.parse_target(text, policy.names(question.load.domain))
    if not question.load.arrivals:
        raise simulation.SimulationError("nothing arrives in this load; make it longer or raise its rates")
    found = Answer(question.load)
    async with _server() as redis:
        bench = _Bench(redis, question.load)
        for policy in policies:
            targets = [
                simulation.parse_target(text, policy.names(question.load.domain)) for text in question.targets
            ]
            for fleet in question.fleets:
                report = await bench.report(policy, fleet)
                found.reports.append(report)
                found.verdicts += [_verdict(target, report) for target in targets]
            if targets:
                found.smallest += await _smallest(bench, policy, question, targets)
    return found


def _verdict(target: simulation.Target, report: simulation.Report) -> Verdict:
    value_ms, met = target.value_ms(report), target.met(report)
    return Verdict(str(target), report.policy, report.workers, report.slots, value_ms, met)


async def _smallest(
    bench: _Bench, policy: Policy, question: Question, targets: Sequence[simulation.Target]
) -> list[Smallest]:
    """With one fleet asked for: searched for; with several: the smallest of those."""
    found = []
    for slots in sorted({fleet.slots for fleet in question.fleets}):
        tried = sorted(fleet.workers for fleet in question.fleets if fleet.slots == slots)
        seen: dict[int, simulation.Report] = {}
        at = partial(_seen, bench, policy, slots, seen)
        if len(tried) == 1:
            workers = await simulation.smallest_fleet(at, targets, question.max_workers)
        else:
            reports = [await at(count) for count in tried]
            enough = (each.workers for each in reports if all(target.met(each) for target in targets))
            workers = min(enough, default=None)
        why = "" if workers else _why_missed(seen[max(seen)], targets)
        found.append(Smallest(policy.source, slots, workers, max(seen), why))
    return found


async def _seen(
    bench: _Bench, policy: Policy, slots: int, seen: dict[int, simulation.Report], workers: int
) -> simulation.Report:
    seen[workers] = await bench.report(policy, simulation.Fleet(workers, slots))
    return seen[workers]


def _why_missed(report: simulation.Report, targets: Sequence[simulation.Target]) -> str:
    """What is too much on the largest fleet, and what holds it: workers do not help against limits."""
    parts = []
    for target in targets:
        if target.met(report):
            continue
        tier = report.tier(target.tier)
        words = f"{target.tier}.{target.measure} is {duration(target.value_ms(report))} there"
        words += ", with slots always free" if report.had_a_free_slot else ""
        if tier and tier.refused:
            words += f", {sum(tier.refused.values()):,} are refused"
        elif tier and tier.held_ms:
            words += f", held by {max(tier.held_ms, key=lambda why: tier.held_ms[why])}"
        parts.append(words)
    return "; ".join(parts)


class _Bench:
    """One server, one simulation after the other; what was simulated once is known."""

    def __init__(self, redis: Any, load: simulation.Load) -> None:
        self._redis = redis
        self._load = load
        self._known: dict[tuple[str, simulation.Fleet], simulation.Report] = {}

    async def report(self, policy: Policy, fleet: simulation.Fleet) -> simulation.Report:
        """What that policy does on that fleet."""
        key = (policy.source, fleet)
        if key not in self._known:
            await self._redis.flushall()
            title = f"{PurePath(policy.source).name}, {fleet.workers} × {fleet.slots} slots"
            with _progress(title, len(self._load.arrivals)) as progress:
                done = await simulation.simulate(self._redis, self._load, policy, fleet, progress=progress)
            self._known[key] = simulation.report_on(done)
        return self._known[key]


@asynccontextmanager
async def _server() -> AsyncIterator[Any]:
    from redis.asyncio import Redis

    from nooble_tasks.embedded import EmbeddedServer
    from nooble_tasks.multiplexed import Multiplexed, multiplexed

    with EmbeddedServer("simulation", persist=False, options=_OPTIONS) as server:
        client = Redis.from_url(server.url, protocol=2)
        shared = multiplexed(client)
        try:
            yield shared
        finally:
            if isinstance(shared, Multiplexed):
                await shared.disconnect()
            await client.aclose()


@contextmanager
def _progress(title: str, total: int) -> Iterator[Callable[[int], None]]:
    """A bar on a terminal; nothing elsewhere."""
    if not err().is_terminal:
        yield lambda _: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err(), transient=True) as bar:
        task = bar.add_task(title, total=total)
        yield lambda more: bar.advance(task, more)
