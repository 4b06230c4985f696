"""Clocks that are wrong or jump: of workers, and of the server as workers see it."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from nooble_tasks.embedded import EmbeddedServer
from tests.faults.crew import Crew, pid_of
from tests.faults.doses import FULL, dose
from tests.faults.ledger import Ledger

ACTIONS = dose(100, 200)
JUMPS = dose(1, 20)
LEASE_S = dose(1, 2)
"""After a jump nothing but heartbeats tells who lives; the longer one forgives longer stalls."""

TAKES_S = 1.2 * LEASE_S
"""Two of them in a row outlast two leases."""

HOUR_S = 3_600

_NOTICED_S = 70
_MENDED_S = 270.0


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


class Shifted:
    """A server whose wall clock is off by as many seconds as one says."""

    def __init__(self, folder: Path, binary: Path, patch: pytest.MonkeyPatch) -> None:
        library, self._offset = folder / "server_clock.so", folder / "offset"
        source = Path(__file__).with_name("server_clock.c")
        subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source], check=True)
        self.by(0)
        with patch.context() as patched:
            patched.setenv("LD_PRELOAD", str(library))
            patched.setenv("CLOCK_OFFSET_FILE", str(self._offset))
            self.server = EmbeddedServer(persist=False, binary=binary).start()

    def by(self, seconds: int) -> None:
        self._offset.write_text(str(seconds))


@pytest.fixture
def shifted(
    redis_server: EmbeddedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Shifted]:
    if sys.platform != "linux" or not shutil.which("cc"):
        pytest.skip("preloads a C library")
    found = Shifted(tmp_path, redis_server.binary.path, monkeypatch)
    with found.server:
        yield found


@pytest.mark.parametrize("jump_s", [2 * HOUR_S, -2 * HOUR_S])
async def test_the_servers_clock_jumps(shifted: Shifted, jump_s: int) -> None:
    """Under work, and a worker comes that has known no other time: nothing is lost, nothing runs twice."""
    with Crew(shifted.server.url) as crew:
        async with Ledger.opened(shifted.server.url) as ledger:
            before_s = (await ledger.redis.time())[0]
            crew.hire(lease_s=LEASE_S)
            crew.hire(lease_s=LEASE_S)
            for jumps in range(1, JUMPS + 1):
                await ledger.send(ACTIONS // 2, takes_s=TAKES_S)
                shifted.by(jump_s * (jumps % 2))  # there, and back the next time
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


@pytest.mark.skipif(not FULL, reason="takes minutes: so seldom do workers compare their clocks")
async def test_what_was_written_while_the_clock_was_ahead_holds_nobody_up(shifted: Shifted) -> None:
    """A tenant at its limit, and what a worker had in hand that was killed when it was set back."""
    with Crew(shifted.server.url) as crew:
        async with Ledger.opened(shifted.server.url) as ledger, ledger.following():

            async def at_the_limit() -> None:
                """For so long that every worker has noticed what the time is."""
                for _ in range(_NOTICED_S):
                    await ledger.send(50, tier="narrow", tenants=1)
                    await asyncio.sleep(1)

            crew.hire(lease_s=LEASE_S)
            shifted.by(2 * HOUR_S)
            victim = crew.hire(lease_s=LEASE_S)
            await ledger.until_registered(pid_of(victim))
            await at_the_limit()
            await ledger.send(40, takes_s=3)
            await asyncio.sleep(1)
            crew.kill(victim)
            shifted.by(0)
            await at_the_limit()
            await ledger.until_ended(patience_s=_MENDED_S)
            ledger.check_outcomes()
            await ledger.check_runs(40)
