"""A load played under virtual time: who arrives when, runs how long, on how many slots.

A discrete-event driver. Time jumps from one event to the next (an arrival, an end, something held or
scheduled that is due), and every decision is asked of a :class:`Queue`: the shipping scripts on a real server
(:class:`Shipping`), or :class:`Fifo`, the reference that most task queues are.
"""

from __future__ import annotations

import heapq
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby, pairwise
from operator import attrgetter
from typing import NamedTuple, Protocol

from scheduler import Claimed, Finish, NewAction, Outcome
from tests.scheduler.world import World


class Job(NamedTuple):
    """One action of a load: ``at_ms`` it arrives and ``run_ms`` it runs, both from the load's beginning."""

    at_ms: int
    tenant: str
    run_ms: int
    tier: str = "t"
    action_type: str = "load.job"


class Start(NamedTuple):
    """A job that started at ``at_ms``."""

    job: Job
    at_ms: int

    @property
    def wait_ms(self) -> int:
        """From its arrival to its start."""
        return self.at_ms - self.job.at_ms

    @property
    def end_ms(self) -> int:
        """When its slot is free again."""
        return self.at_ms + self.job.run_ms


class Queue(Protocol):
    """Who decides: the driver tells it what arrived and what ended, and asks for work."""

    async def arrive(self, jobs: Sequence[tuple[int, Job]], now_ms: int) -> None:
        """These numbered jobs are there now."""

    async def turn(self, ended: Sequence[int], slots: int, now_ms: int) -> tuple[list[int], int | None]:
        """Hand in what ended and take up to ``slots``; numbers of jobs, and when something else is due."""


class Fifo:
    """First come, first served, whoever it is."""

    def __init__(self) -> None:
        self._line: deque[int] = deque()

    async def arrive(self, jobs: Sequence[tuple[int, Job]], now_ms: int) -> None:
        self._line.extend(number for number, _ in jobs)

    async def turn(self, ended: Sequence[int], slots: int, now_ms: int) -> tuple[list[int], int | None]:
        return [self._line.popleft() for _ in range(min(slots, len(self._line)))], None


class Shipping:
    """The engine and its scripts on a real server, under a clock by hand."""

    def __init__(self, world: World, worker: str = "w1") -> None:
        self._world = world
        self._worker = worker
        self._began_ms = world.now
        self._owned: dict[int, tuple[Claimed, int]] = {}

    async def arrive(self, jobs: Sequence[tuple[int, Job]], now_ms: int) -> None:
        await self._be_at(now_ms)
        await self._world.enqueue(
            *(NewAction(str(number), job.action_type, job.tenant, job.tier, b"{}") for number, job in jobs)
        )

    async def turn(self, ended: Sequence[int], slots: int, now_ms: int) -> tuple[list[int], int | None]:
        await self._be_at(now_ms)
        finishes = []
        for number in ended:
            action, claimed_ms = self._owned.pop(number)
            finishes.append(Finish(action, Outcome.COMPLETED, run_time_us=(now_ms - claimed_ms) * 1000))
        accepted, claim = await self._world.engine.finish_and_claim(
            self._world.domain, self._worker, finishes, slots
        )
        assert all(accepted)
        numbers = [int(action.action_id) for action in claim.actions]
        self._owned.update(
            (number, (action, now_ms)) for number, action in zip(numbers, claim.actions, strict=True)
        )
        due_ms = claim.next_due_ms - self._began_ms if claim.next_due_ms else None
        return numbers, due_ms

    async def _be_at(self, now_ms: int) -> None:
        """Move the clock; a worker's heartbeat would have kept its lease meanwhile."""
        if self._began_ms + now_ms != self._world.now:
            self._world.clock.set(self._began_ms + now_ms)
            await self._world.worker(self._worker)


@dataclass
class Played:
    """What came of a load: every start, in order."""

    starts: list[Start] = field(default_factory=list)

    @property
    def makespan_ms(self) -> int:
        """When the last job ended."""
        return max(start.end_ms for start in self.starts)

    def of(self, *tenants: str) -> list[Start]:
        """The starts of some tenants."""
        return [start for start in self.starts if start.job.tenant in tenants]

    def mean_wait_ms(self, *tenants: str) -> float:
        """Mean wait of the tenants' jobs."""
        waits = [start.wait_ms for start in self.of(*tenants)]
        return sum(waits) / len(waits)

    def idle_while_waiting_ms(self, slots: int) -> int:
        """Slot time that stood idle while somebody waited: none, for anybody who conserves work."""
        changes: Counter[int] = Counter()  # at a moment: how many more slots are busy
        waiting: Counter[int] = Counter()
        for start in self.starts:
            changes[start.at_ms] += 1
            changes[start.end_ms] -= 1
            waiting[start.job.at_ms] += 1
            waiting[start.at_ms] -= 1
        busy = in_line = idle_ms = 0
        moments = sorted({*changes, *waiting})
        for at_ms, next_ms in pairwise(moments):
            busy += changes[at_ms]
            in_line += waiting[at_ms]
            idle_ms += min(slots - busy, in_line) * (next_ms - at_ms)
        return idle_ms

    def used_ms(self, from_ms: int = 0, until_ms: int | None = None) -> Counter[str]:
        """Slot time each tenant had in a stretch of time."""
        used: Counter[str] = Counter()
        end_ms = self.makespan_ms if until_ms is None else until_ms
        for start in self.starts:
            used[start.job.tenant] += max(min(start.end_ms, end_ms) - max(start.at_ms, from_ms), 0)
        return used


async def play(queue: Queue, jobs: Iterable[Job], slots: int, *, until_ms: int | None = None) -> Played:
    """Play a load on ``slots`` slots, until it is done or ``until_ms`` has come."""
    arrivals = _arrivals(jobs)
    known: dict[int, Job] = {}
    running: list[tuple[int, int]] = []
    played = Played()
    due_ms: int | None = None
    while arrivals or running or due_ms is not None:
        events = [batch[0][1].at_ms for batch in list(arrivals)[:1]] + [end for end, _ in running[:1]]
        now_ms = min([*events, due_ms] if due_ms is not None else events)
        if until_ms is not None and now_ms > until_ms:
            break
        while arrivals and arrivals[0][0][1].at_ms <= now_ms:
            batch = arrivals.popleft()
            known.update(batch)
            await queue.arrive(batch, now_ms)
        ended = []
        while running and running[0][0] <= now_ms:
            ended.append(heapq.heappop(running)[1])
        numbers, due_ms = await queue.turn(ended, slots - len(running), now_ms)
        for number in numbers:
            start = Start(known.pop(number), now_ms)
            played.starts.append(start)
            heapq.heappush(running, (start.end_ms, number))
        if due_ms is not None and (due_ms <= now_ms or len(running) == slots):
            due_ms = None  # nothing can start before a slot is free
    return played


def _arrivals(jobs: Iterable[Job]) -> deque[list[tuple[int, Job]]]:
    """Numbered in the order of arrival, those of one moment together."""
    numbered = list(enumerate(sorted(jobs, key=attrgetter("at_ms"))))
    return deque(list(batch) for _, batch in groupby(numbered, key=lambda pair: pair[1].at_ms))
