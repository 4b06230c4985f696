"""The server itself dies, comes back from its append-only file, or loses the end of it."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from redis.exceptions import RedisError

from nooble_tasks.embedded import EmbeddedServer
from tests.faults.crew import Crew
from tests.faults.doses import SEED, dose
from tests.faults.ledger import Ledger
from tests.faults.workshop import RUNS

DEATHS, ACTIONS = dose(1, 25), dose(300, 50_000)
POWER_CUTS = dose(1, 20)
CONCURRENCY = 10
AGAIN_AT_WORK_S = 5.0
"""Promised: so long after the server answers again, work that waited starts."""


@pytest.fixture(params=["always"])
def durable(redis_server: EmbeddedServer, request: pytest.FixtureRequest) -> Iterator[EmbeddedServer]:
    """A server of this test alone that has every command in its file, by default on disk as well, before it
    answers."""
    options = {"appendfsync": request.param}
    with EmbeddedServer(persist=False, binary=redis_server.binary.path, options=options) as server:
        yield server


def die(server: EmbeddedServer) -> None:
    """kill -9; its data is still there when it starts again."""
    os.kill(server.pid, signal.SIGKILL)
    server.wait(30)


@asynccontextmanager
async def at_work(server: EmbeddedServer, members: int = 2) -> AsyncIterator[tuple[Ledger, Crew]]:
    with Crew(server.url) as crew:
        async with Ledger.opened(server.url) as ledger:
            for _ in range(members):
                crew.hire(concurrency=CONCURRENCY)
            yield ledger, crew


@pytest.mark.parametrize("durable", ["always", "everysec"], indirect=True)
async def test_kill_9_of_the_server(durable: EmbeddedServer) -> None:
    """What was acknowledged is there again, and workers and callers go on by themselves. What the server has
    handed to the operating system survives its own death, on disk or not yet."""
    async with at_work(durable) as (ledger, crew):
        for _ in range(DEATHS):
            await ledger.send(ACTIONS // DEATHS, takes_s=0.005)
            await ledger.until_ended(len(ledger.accepted) - ACTIONS // DEATHS // 2)
            await asyncio.to_thread(die, durable)
            await ledger.send(10)  # nobody is there: a typed error, and no action
            await asyncio.to_thread(durable.start)  # returns when it answers
            async with asyncio.timeout(AGAIN_AT_WORK_S):
                await until_they_run_on(ledger)
        await ledger.check(extra_runs=None)
        assert all(member.is_alive() for member in crew.members)
        assert len(ledger.accepted) >= ACTIONS


async def until_they_run_on(ledger: Ledger) -> None:
    """Until an action has started that had not when the server came back."""
    runs = int(await ledger.redis.hlen(RUNS))
    while int(await ledger.redis.hlen(RUNS)) <= runs:
        await ledger.send(1)  # so that something waits, and callers find back, too
        await asyncio.sleep(0.05)


@pytest.mark.parametrize("cut", range(POWER_CUTS))
async def test_the_end_of_the_file_is_lost(durable: EmbeddedServer, cut: int) -> None:
    """A power cut takes the last writes. What is left is whole: nothing hangs, nothing is half done.

    Actions accepted in the lost part are gone, actions whose outcome was in it run again.
    """
    async with at_work(durable, members=1) as (ledger, crew):
        await ledger.send(20, tier="few", tenants=2, takes_s=0.05)  # their slots must be free again, too
        await ledger.send(300, takes_s=0.005)
        await ledger.until_ended(100)
        await asyncio.to_thread(die, durable)
        crew.kill(crew.members[0])
        cut_the_end(durable.data_folder, random.Random(SEED + cut))
        await asyncio.to_thread(durable.start)
        crew.hire(concurrency=CONCURRENCY)
        await until_drained(ledger)
        await ledger.check_nothing_is_left()


def cut_the_end(folder: Path, chance: random.Random) -> None:
    (growing,) = [*folder.glob("appendonlydir/*.incr.aof"), *folder.glob("appendonly.aof")]  # before Redis 7
    size = growing.stat().st_size
    os.truncate(growing, size - chance.randint(1, size // 3))


async def until_drained(ledger: Ledger) -> None:
    """Until no action is alive."""
    alive = ledger.client.bus.keys.of("actions", "workshop")
    async with asyncio.timeout(60):
        while True:
            try:
                if not await ledger.redis.exists(alive):
                    return
            except (RedisError, OSError):
                pass
            await asyncio.sleep(0.1)


async def test_scripts_are_forgotten_all_the_time(ledger: Ledger, crew: Crew) -> None:
    """SCRIPT FLUSH in a loop: every caller falls back to sending the text."""
    for _ in range(2):
        crew.hire(concurrency=CONCURRENCY)

    async def forget() -> None:
        while True:
            await ledger.redis.script_flush()
            await asyncio.sleep(0)

    forgetting = asyncio.create_task(forget())
    try:
        for _ in range(dose(10, 200)):
            await ledger.send(50)
        await ledger.until_ended()
    finally:
        forgetting.cancel()
        await asyncio.gather(forgetting, return_exceptions=True)
    await ledger.check(extra_runs=0)
