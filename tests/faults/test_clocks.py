"""Clocks that are wrong or jump: of workers, and of the server as workers see it."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from nooble_tasks.embedded import EmbeddedServer
from tests.faults.crew import Crew, pid_of
from tests.faults.doses import dose
from tests.faults.ledger import Ledger

ACTIONS = dose(100, 200)
JUMPS = dose(1, 20)
LEASE_S = dose(1, 2)
"""After a jump nothing but heartbeats tells who lives; the longer one forgives longer stalls."""

TAKES_S = 1.2 * LEASE_S
"""Two of them in a row outlast two leases."""

HOUR_S = 3_600


@pytest.mark.parametrize("jump_s", [2 * HOUR_S, -2 * HOUR_S])
async def test_a_workers_clock_jumps(ledger: Ledger, crew: Crew, jump_s: int) -> None:
    """Nobody's lease is taken and no limit is exceeded, because no decision rests on that clock."""
    crew.hire(lease_s=LEASE_S)
    for _ in range(JUMPS):
        jumping = crew.hire(lease_s=LEASE_S, clock_jump_s=jump_s)
        await ledger.send(ACTIONS // 2, takes_s=TAKES_S)
        await ledger.send(ACTIONS // 2, tier="narrow", takes_s=TAKES_S)
        await ledger.until_ended()
        await ledger.until_registered(pid_of(jumping))
        crew.stop(jumping)
        assert await asyncio.to_thread(crew.gone, jumping) == 0
    await ledger.check(extra_runs=0)


@pytest.mark.parametrize("ahead_s", [2 * HOUR_S, -2 * HOUR_S])
async def test_a_worker_takes_the_servers_clock_for_hours_off(
    ledger: Ledger, crew: Crew, ahead_s: int
) -> None:
    """As after a jump of the server's clock that one worker has seen and the others have not yet.

    Nothing is lost and nobody's work is taken: a lease that moves is alive, wherever it ends.
    """
    crew.hire(lease_s=LEASE_S)
    for _ in range(JUMPS):
        wrong = crew.hire(lease_s=LEASE_S, server_ahead_s=ahead_s)
        await ledger.send(ACTIONS, takes_s=TAKES_S)
        await ledger.until_ended()
        await ledger.until_registered(pid_of(wrong))
        crew.stop(wrong)
        assert await asyncio.to_thread(crew.gone, wrong) == 0
    await ledger.check(extra_runs=0)


@pytest.mark.skipif(sys.platform != "linux" or not shutil.which("cc"), reason="preloads a C library")
@pytest.mark.parametrize("jump_s", [2 * HOUR_S, -2 * HOUR_S])
async def test_the_servers_clock_jumps(
    redis_server: EmbeddedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jump_s: int
) -> None:
    """Under work, and a worker comes that has known no other time: nothing is lost, nothing runs twice."""
    library, offset = tmp_path / "server_clock.so", tmp_path / "offset"
    source = Path(__file__).with_name("server_clock.c")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source], check=True)  # noqa: ASYNC221
    offset.write_text("0")
    with monkeypatch.context() as patched:
        patched.setenv("LD_PRELOAD", str(library))
        patched.setenv("CLOCK_OFFSET_FILE", str(offset))
        server = EmbeddedServer(persist=False, binary=redis_server.binary.path).start()
    with server, Crew(server.url) as crew:
        async with Ledger.opened(server.url) as ledger:
            before_s = (await ledger.redis.time())[0]
            crew.hire(lease_s=LEASE_S)
            crew.hire(lease_s=LEASE_S)
            for jumps in range(1, JUMPS + 1):
                await ledger.send(ACTIONS // 2, takes_s=TAKES_S)
                offset.write_text(str(jump_s * (jumps % 2)))  # there, and back the next time
                jumped_s = (await ledger.redis.time())[0] - before_s
                assert abs(jumped_s - jump_s * (jumps % 2)) < HOUR_S
                newcomer = crew.hire(lease_s=LEASE_S)
                await ledger.send(ACTIONS // 2, takes_s=TAKES_S)
                await ledger.until_ended()
                await ledger.until_registered(pid_of(newcomer))
                crew.stop(newcomer)
                assert await asyncio.to_thread(crew.gone, newcomer) == 0
            ledger.check_outcomes()
            await ledger.check_runs(0)
            await ledger.check_nothing_is_left()
