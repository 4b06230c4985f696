"""Clocks that are wrong or jump: of workers, and of the server as workers see it."""

from __future__ import annotations

import pytest

from tests.faults.crew import Crew
from tests.faults.doses import dose
from tests.faults.ledger import Ledger

ACTIONS = dose(100, 4_000)
TAKES_S = 1.2
"""Two of them in a row outlast two leases."""
HOUR_S = 3_600


@pytest.mark.parametrize("jump_s", [2 * HOUR_S, -2 * HOUR_S])
async def test_a_workers_clock_jumps(ledger: Ledger, crew: Crew, jump_s: int) -> None:
    """Nobody's lease is taken and no limit is exceeded, because no decision rests on that clock."""
    crew.hire(clock_jump_s=jump_s)
    crew.hire()
    await ledger.send(ACTIONS // 2, takes_s=TAKES_S)
    await ledger.send(ACTIONS // 2, tier="narrow", takes_s=TAKES_S)
    await ledger.check(extra_runs=0)


@pytest.mark.parametrize("ahead_s", [2 * HOUR_S, -2 * HOUR_S])
async def test_a_worker_takes_the_servers_clock_for_hours_off(
    ledger: Ledger, crew: Crew, ahead_s: int
) -> None:
    """As after a jump of the server's clock that one worker has seen and the others have not yet.

    Nothing is lost and nobody's work is taken: a lease that moves is alive, wherever it ends.
    """
    crew.hire()
    crew.hire(server_ahead_s=ahead_s)
    await ledger.send(ACTIONS, takes_s=TAKES_S)
    await ledger.check(extra_runs=0)
