"""Workers that stand still: stopped by SIGSTOP, or with a loop that a handler blocks."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from typing import Any

import pytest

from nooble_tasks._engine import inspection
from nooble_tasks.embedded import EmbeddedServer
from tests.faults.crew import Crew, pid_of
from tests.faults.doses import dose, some_of
from tests.faults.ledger import Ledger
from tests.faults.workshop import DOMAIN, GATE, RUNS

ROUNDS = dose(1, 20)
IN_HAND = 20
SLEEPERS, SLEEPS = dose(2, 10), dose(1, 50)
BLOCKING, BLOCKS = dose(1, 10), dose(1, 500)
LONG, LEASES = dose(20, 200), dose(3, 10)
LEASE_S = 1.0
"""As the workshop's settings have it."""


async def until_runs(ledger: Ledger, runs: int) -> None:
    async with asyncio.timeout(30):
        while sum(int(times) for times in (await ledger.redis.hvals(RUNS))) < runs:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def until_nobody_else_is_registered(ledger: Ledger, many: int) -> None:
    async with asyncio.timeout(30):
        while (await inspection.domain_counts(ledger.client.bus.engine, DOMAIN)).workers != many:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def test_every_outcome_of_a_worker_that_slept_past_its_lease_is_refused(
    ledger: Ledger, crew: Crew
) -> None:
    """It is declared dead, others run what it held, and what it says when it wakes up is not believed."""
    each = IN_HAND // SLEEPERS
    for done in range(SLEEPS):
        await ledger.redis.delete(GATE)
        sleepers: list[Any] = [crew.hire(concurrency=each) for _ in range(SLEEPERS)]
        await ledger.send(IN_HAND, verb="wait")
        await until_runs(ledger, IN_HAND * (2 * done + 1))
        for sleeper in sleepers:
            os.kill(pid_of(sleeper), signal.SIGSTOP)
        stopped = time.monotonic()
        other = crew.hire(concurrency=IN_HAND)
        await until_runs(ledger, IN_HAND * (2 * done + 2))  # all of them started again
        await asyncio.sleep(max(stopped + 3 * LEASE_S - time.monotonic(), 0))
        await ledger.redis.set(GATE, 1)
        for sleeper in sleepers:
            os.kill(pid_of(sleeper), signal.SIGCONT)  # its handlers end now, too
        await ledger.until_ended()
        for member in (*sleepers, other):
            await ledger.until_registered(pid_of(member))
            crew.stop(member)
            assert await asyncio.to_thread(crew.gone, member) == 0
    await ledger.check(extra_runs=IN_HAND * SLEEPS)


@pytest.mark.parametrize("how", some_of(["killed", "stopped", "paused"], 2))
async def test_a_server_away_for_three_leases_makes_no_worker_a_dead_one(
    redis_server: EmbeddedServer, how: str
) -> None:
    """No heartbeat gets through and every lease ends, of workers that live: nobody takes their work.

    Stopped and killed are different: what is sent to a stopped server reaches it later. A paused one (CLIENT
    PAUSE) takes commands and answers them later.
    """
    options = {"appendfsync": "always"}
    with (
        EmbeddedServer(persist=False, binary=redis_server.binary.path, options=options) as server,
        Crew(server.url) as crew,
    ):
        async with Ledger.opened(server.url) as ledger:
            for _ in range(3):
                crew.hire(concurrency=IN_HAND)
            for done in range(ROUNDS):
                await ledger.send(IN_HAND * 2, takes_s=6 * LEASE_S)
                await until_runs(ledger, IN_HAND * 2 * (done + 1))
                if how == "paused":
                    await ledger.redis.client_pause(int(3_000 * LEASE_S))
                else:
                    os.kill(server.pid, signal.SIGKILL if how == "killed" else signal.SIGSTOP)
                await asyncio.sleep(3 * LEASE_S)
                if how == "killed":
                    await asyncio.to_thread(server.wait, 30)
                    await asyncio.to_thread(server.start)
                elif how == "stopped":
                    os.kill(server.pid, signal.SIGCONT)
                await ledger.until_ended()
            await ledger.check(extra_runs=0)


async def test_a_loop_blocked_for_three_leases_costs_nothing(ledger: Ledger, crew: Crew) -> None:
    """The heartbeat has a thread and a connection of its own: what is held is kept, one blocking handler
    after the other, while others look for dead workers."""
    for _ in range(BLOCKING):
        crew.hire(concurrency=4)
    await ledger.send(BLOCKS, verb="block", takes_s=3 * LEASE_S)
    await until_runs(ledger, min(BLOCKING, BLOCKS))
    crew.hire(concurrency=4)
    await ledger.send(20)
    await ledger.check(extra_runs=0)


async def test_actions_ten_times_as_long_as_the_lease_run_once(ledger: Ledger, crew: Crew) -> None:
    """In the event loop, in threads: the lease is extended as long as it takes."""
    for _ in range(2):
        crew.hire(concurrency=LONG, handler_threads=LONG)
    await ledger.send(LONG // 2, takes_s=LEASES * LEASE_S)
    await ledger.send(LONG // 2, verb="thread", takes_s=LEASES * LEASE_S)
    await ledger.check(extra_runs=0)


async def test_what_would_wake_a_blocked_loop_wakes_another(ledger: Ledger, crew: Crew) -> None:
    """The worker that fell asleep last is woken first; when its loop is blocked, somebody else is, soon."""
    free = crew.hire(lease_s=15)
    await ledger.until_registered(pid_of(free))
    blocked = crew.hire(lease_s=15, blocked_loop_s=0.2)
    await ledger.until_registered(pid_of(blocked))
    await until_asleep(ledger, 2)
    os.kill(pid_of(free), signal.SIGSTOP)
    await ledger.send(1, verb="block", takes_s=8.0)
    await until_runs(ledger, 1)
    os.kill(pid_of(free), signal.SIGCONT)
    await ledger.send(5)
    await ledger.until_ended(5)
    assert await ledger.ended() == 5, "they waited for the one that blocks"
    await ledger.check(extra_runs=0)


async def until_asleep(ledger: Ledger, many: int) -> None:
    sleepers = ledger.client.bus.keys.of("sleepers", DOMAIN)
    async with asyncio.timeout(30):
        while await ledger.redis.zcard(sleepers) < many:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
