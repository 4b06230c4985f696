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
from tests.faults.doses import dose
from tests.faults.ledger import Ledger
from tests.faults.workshop import DOMAIN, GATE, RUNS

ROUNDS = dose(1, 20)
IN_HAND = 20
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
    for done in range(ROUNDS):
        await ledger.redis.delete(GATE)
        sleeper: Any = crew.hire(concurrency=IN_HAND)
        await ledger.send(IN_HAND, verb="wait")
        await until_runs(ledger, IN_HAND * (2 * done + 1))
        os.kill(pid_of(sleeper), signal.SIGSTOP)
        stopped = time.monotonic()
        other = crew.hire(concurrency=IN_HAND)
        await until_runs(ledger, IN_HAND * (2 * done + 2))  # all of them started again
        await asyncio.sleep(max(stopped + 3 * LEASE_S - time.monotonic(), 0))
        await ledger.redis.set(GATE, 1)
        os.kill(pid_of(sleeper), signal.SIGCONT)  # its handlers end now, too
        await ledger.until_ended()
        for member in (sleeper, other):
            crew.stop(member)
            assert await asyncio.to_thread(crew.gone, member) == 0
    await ledger.check(extra_runs=IN_HAND * ROUNDS)


@pytest.mark.parametrize("killed", [False, True])
async def test_a_server_away_for_three_leases_makes_no_worker_a_dead_one(
    redis_server: EmbeddedServer, killed: bool
) -> None:
    """No heartbeat gets through and every lease ends, of workers that live: nobody takes their work.

    Stopped and killed are different: what is sent to a stopped server reaches it later.
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
                os.kill(server.pid, signal.SIGKILL if killed else signal.SIGSTOP)
                await asyncio.sleep(3 * LEASE_S)
                if killed:
                    await asyncio.to_thread(server.wait, 30)
                    await asyncio.to_thread(server.start)
                else:
                    os.kill(server.pid, signal.SIGCONT)
                await ledger.until_ended()
            await ledger.check(extra_runs=0)


async def test_a_loop_blocked_for_three_leases_costs_nothing(ledger: Ledger, crew: Crew) -> None:
    """The heartbeat has a thread and a connection of its own."""
    crew.hire(concurrency=4)
    await ledger.send(1, verb="block", takes_s=3.0)
    await until_runs(ledger, 1)
    crew.hire(concurrency=4)
    await ledger.send(20)
    await ledger.check(extra_runs=0)
