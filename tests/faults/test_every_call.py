"""A worker dies before, while and after each of its calls to Redis; so does a client. Nothing is lost."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal

import pytest

from nooble_tasks._engine import State, inspection, scripts
from nooble_tasks.orphans import take_back_from_process
from tests.faults.crew import Crew, pid_of
from tests.faults.doses import dose, some_of
from tests.faults.ledger import Ledger
from tests.faults.proxy import MOMENTS, PASS, Call, Proxy, Treatment, treatment_at
from tests.faults.workshop import DOMAIN

CALLS_OF_A_WORKER = 90


async def scenario(ledger: Ledger) -> None:
    """What brings about every kind of call: a full line, one that fills up later, a retry, an idle moment."""
    for _ in range(4):
        await ledger.send(8)
        await ledger.until_ended()
    await ledger.send(5, takes_s=0.01)


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("number", some_of(list(range(1, CALLS_OF_A_WORKER + 1)), 3))
async def test_a_worker_dies_at_its_call(
    ledger: Ledger, crew: Crew, redis_url: str, number: int, moment: str
) -> None:
    """Its parent takes back what it held (every other time), or its lease ends; a second worker goes on."""
    died = asyncio.Event()
    async with Proxy(redis_url) as proxy:

        def die() -> None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid_of(victim), signal.SIGKILL)
            died.set()

        def decide(call: Call) -> Treatment:
            return treatment_at(moment, die) if call.number == number else PASS

        proxy.decide = decide
        victim = crew.hire(url=proxy.url, concurrency=3)
        sending = asyncio.create_task(scenario(ledger))
        await asyncio.wait_for(died.wait(), 30)
        crew.kill(victim)
        if number % 2:
            await take_back_from_process(ledger.client.bus.engine, pid_of(victim))
        crew.hire(concurrency=3)
        await sending
        await ledger.check(extra_runs=3)


async def calls_of_a_worker(ledger: Ledger, crew: Crew, redis_url: str) -> list[list[str]]:
    async with Proxy(redis_url) as proxy:
        member = crew.hire(url=proxy.url, concurrency=3)
        await scenario(ledger)
        await ledger.until_ended()
        crew.stop(member)
        await asyncio.to_thread(crew.gone, member)
        return proxy.calls


async def test_what_a_worker_lives_by_is_among_the_calls_that_are_broken(
    ledger: Ledger, crew: Crew, redis_url: str
) -> None:
    """Should its start learn new calls, CALLS_OF_A_WORKER has to grow."""
    calls = await calls_of_a_worker(ledger, crew, redis_url)
    verb_of = {scripts.load(verb).sha: verb for verb in scripts.VERBS}
    broken = {
        verb_of.get(words[1], words[1]) if words[0] == "EVALSHA" else words[0]
        for words in calls[:CALLS_OF_A_WORKER]
    }
    assert {"extend", "claim", "finish", "BLPOP", "TIME"} <= broken


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("number", range(1, dose(6, 9)))
async def test_a_clients_call_breaks(
    ledger: Ledger, crew: Crew, redis_url: str, number: int, moment: str
) -> None:
    """What was acknowledged is run once; what was not may have been accepted, then it is run once as well."""
    crew.hire(concurrency=3)
    async with Proxy(redis_url) as proxy, Ledger.opened(proxy.url, redis_url) as sender:
        opened = len(proxy.calls)

        def decide(call: Call) -> Treatment:
            return treatment_at(moment, broken.set) if call.number == opened + number else PASS

        broken = asyncio.Event()
        proxy.decide = decide
        while not broken.is_set():
            await sender.send(3)
        await sender.send(3)
        ledger.accepted, ledger.unsure = sender.accepted, sender.unsure
        await ledger.check(extra_runs=0)
        for action_id in sender.unsure:
            state = await inspection.state_of(ledger.client.bus.engine, DOMAIN, action_id)
            assert state in (State.COMPLETED, State.UNKNOWN)
