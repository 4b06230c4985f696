"""A worker dies before, while and after each call of what it does besides taking what waits in line: delayed
actions, retries, what a dead worker held, schedules, its own leaving. Another one goes on."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from itertools import product
from multiprocessing.process import BaseProcess

import pytest

from nooble_tasks._engine import ScheduleStore, inspection, scripts
from nooble_tasks.orphans import take_back_from_process
from tests.faults.crew import Crew, pid_of
from tests.faults.doses import some_of
from tests.faults.ledger import Ledger
from tests.faults.proxy import MOMENTS, PASS, Call, Proxy, Treatment, treatment_at
from tests.faults.workshop import DOMAIN, GATE, RUNS

MANY = 6
CONCURRENCY = 3
PATIENCE_S = 30


class Step:
    """What a worker is brought to do: in how many calls, with which scripts, with how many ``extra_runs``."""

    calls: int
    scripts: frozenset[str]
    extra_runs = 0
    answered = True

    async def prepare(self, ledger: Ledger, crew: Crew) -> None:
        """Before the worker is there whose calls are counted."""

    async def warm_up(self, ledger: Ledger) -> None:
        """It is there; its calls are not counted yet."""

    async def begin(self, ledger: Ledger, crew: Crew, worker: BaseProcess) -> None:
        """From now on calls are counted."""
        raise NotImplementedError

    async def end(self, ledger: Ledger) -> None:
        """When the other worker is at work."""


class Delayed(Step):
    """Actions that are due one after the other."""

    calls, scripts = 30, frozenset({"claim", "finish"})

    async def begin(self, ledger: Ledger, crew: Crew, worker: BaseProcess) -> None:
        for number in range(MANY):
            await ledger.send_later(0.2 + number * 0.1)


class Retried(Step):
    """Handlers that ask for another attempt."""

    calls, scripts, extra_runs = 35, frozenset({"claim", "finish"}), MANY

    async def begin(self, ledger: Ledger, crew: Crew, worker: BaseProcess) -> None:
        await ledger.send(MANY, verb="again")


class Reclaimed(Step):
    """What another one held when it died."""

    calls, scripts, extra_runs = 40, frozenset({"reclaim", "claim", "finish"}), MANY

    async def prepare(self, ledger: Ledger, crew: Crew) -> None:
        self.first = crew.hire(concurrency=MANY)
        await ledger.send(MANY, verb="wait")
        await until_runs(ledger, MANY)

    async def begin(self, ledger: Ledger, crew: Crew, worker: BaseProcess) -> None:
        crew.kill(self.first)
        await ledger.redis.set(GATE, 1)


class Scheduled(Step):
    """A schedule whose due times come while it looks."""

    calls, scripts, answered = 40, frozenset({"fire", "claim", "finish"}), False

    async def begin(self, ledger: Ledger, crew: Crew, worker: BaseProcess) -> None:
        self.schedules = ledger.client.schedules
        made = await self.schedules.create(
            "beat", f"{DOMAIN}.work", every=1, misfire="all", tenant_id="tenant-1", data={"number": 1}
        )
        assert made.next_due is not None
        self.first_ms = int(made.next_due.timestamp() * 1_000)

    async def end(self, ledger: Ledger) -> None:
        """At least three due times, each one action, and no other."""
        store, enough_ms = ScheduleStore(ledger.client.bus.engine), self.first_ms + 2_000
        async with asyncio.timeout(PATIENCE_S):
            while (last := (await store.get(DOMAIN, "beat")).last) is None or last.due_ms < enough_ms:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        await self.schedules.pause(DOMAIN, "beat")
        last = (await store.get(DOMAIN, "beat")).last
        assert last is not None
        due = range(self.first_ms, last.due_ms + 1, 1_000)
        # Its id tells the due time of an action, so as many as there were due times are one of each.
        async with asyncio.timeout(PATIENCE_S):
            while len(fired := await self.fired(ledger)) < len(due):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        assert len(fired) == len(due)
        ledger.accepted += fired
        await self.schedules.delete(DOMAIN, "beat")

    async def fired(self, ledger: Ledger) -> list[str]:
        await ledger.follow()
        return [action_id for action_id, outcome in ledger.outcomes if outcome == "completed"]


class Stopped(Step):
    """It is told to stop while it runs some and others wait."""

    calls, scripts = 20, frozenset({"finish", "retire"})

    async def warm_up(self, ledger: Ledger) -> None:
        await ledger.send(MANY, takes_s=0.3)
        await until_runs(ledger, CONCURRENCY)

    async def begin(self, ledger: Ledger, crew: Crew, worker: BaseProcess) -> None:
        crew.stop(worker)


STEPS: list[type[Step]] = [Delayed, Retried, Reclaimed, Scheduled, Stopped]


async def until_runs(ledger: Ledger, runs: int) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while sum(int(times) for times in await ledger.redis.hvals(RUNS)) < runs:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def until_registered(ledger: Ledger, many: int) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while (await inspection.domain_counts(ledger.client.bus.engine, DOMAIN)).workers < many:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def every_death() -> list[tuple[type[Step], int, str]]:
    """All of them, or one or two of each step."""
    return [
        (step, *death)
        for step in STEPS
        for death in some_of(list(product(range(1, step.calls + 1), MOMENTS)), 2)
    ]


@pytest.mark.parametrize(("kind", "number", "moment"), every_death())
async def test_a_worker_dies_at_each_call_of(
    ledger: Ledger, crew: Crew, redis_url: str, kind: type[Step], number: int, moment: str
) -> None:
    """Its parent takes back what it held (every other time), or its lease ends."""
    step, over, counting = kind(), asyncio.Event(), False
    async with Proxy(redis_url) as proxy:

        def die() -> None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid_of(victim), signal.SIGKILL)
            over.set()

        def decide(call: Call) -> Treatment:
            return treatment_at(moment, die) if counting and call.number == first + number else PASS

        proxy.decide = decide
        await step.prepare(ledger, crew)
        before = len(crew.members)
        victim = crew.hire(url=proxy.url, concurrency=CONCURRENCY)
        await until_registered(ledger, before + 1)
        await step.warm_up(ledger)
        first, counting = len(proxy.calls), True
        await step.begin(ledger, crew, victim)
        watching = asyncio.create_task(exit_of(victim, over))
        await asyncio.wait_for(over.wait(), PATIENCE_S)  # every worker calls now and then, or has left
        await watching
        if number % 2:
            await take_back_from_process(ledger.client.bus.engine, pid_of(victim))
        crew.hire(concurrency=CONCURRENCY)
        await step.end(ledger)
        await ledger.check(extra_runs=CONCURRENCY + step.extra_runs, answered=step.answered)


async def exit_of(worker: BaseProcess, over: asyncio.Event) -> None:
    """Says when a worker has ended, however it does."""
    while not over.is_set() and worker.is_alive():  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    await asyncio.to_thread(worker.join, PATIENCE_S)
    over.set()


@pytest.mark.parametrize("kind", STEPS)
async def test_each_step_is_among_the_calls_that_are_broken(
    ledger: Ledger, crew: Crew, redis_url: str, kind: type[Step]
) -> None:
    """Should a step learn new calls, its ``calls`` has to grow."""
    step = kind()
    async with Proxy(redis_url) as proxy:
        await step.prepare(ledger, crew)
        before = len(crew.members)
        worker = crew.hire(url=proxy.url, concurrency=CONCURRENCY)
        await until_registered(ledger, before + 1)
        await step.warm_up(ledger)
        first = len(proxy.calls)
        await step.begin(ledger, crew, worker)
        if kind is Stopped:
            assert await asyncio.to_thread(crew.gone, worker) == 0
            crew.hire(concurrency=CONCURRENCY)
        await step.end(ledger)
        await ledger.check(extra_runs=step.extra_runs, answered=step.answered)
        verb_of = {scripts.load(verb).sha: verb for verb in (*scripts.VERBS, "fire", "retire")}
        calls = [verb_of.get(words[1], "") for words in proxy.calls[first:] if len(words) > 1]
    assert step.scripts <= set(calls[: step.calls]), calls
