"""Workers that die without a word, and workers that are replaced all the time."""

from __future__ import annotations

import asyncio
import random
from typing import Any

from nooble_tasks._engine import inspection
from tests.faults import running
from tests.faults.crew import Crew, pid_of
from tests.faults.doses import dose
from tests.faults.ledger import Ledger
from tests.faults.workshop import DOMAIN, FEW

KILLS, ACTIONS, WORKERS = dose(12, 1_000), dose(2_500, 100_000), dose(4, 8)
RESTARTS = dose(8, 200)
WATCHED = dose(3, 50)
NONE_IS_POISON = min(KILLS + 1, 1_000)
CONCURRENCY = 20
LEASE_S = 1.0
"""As the workshop's settings have it."""

RECOVERY_S = 5.0
"""Promised: so long after the lease of a dead worker, what it held starts again."""


async def workers_registered(ledger: Ledger, many: int) -> None:
    async with asyncio.timeout(30):
        while (await inspection.domain_counts(ledger.client.bus.engine, DOMAIN)).workers < many:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def test_kill_9_of_workers_loses_nothing(ledger: Ledger, crew: Crew, chance: random.Random) -> None:
    """Extra runs at most what was in hand at the kills; nothing answered twice; limits hold all the time, and
    what a dead worker held starts again in time. (None is poison, however often it meets a kill.)"""
    for _ in range(WORKERS):
        crew.hire(concurrency=CONCURRENCY, poison_deaths=NONE_IS_POISON)
    await workers_registered(ledger, WORKERS)
    batch, in_hand = ACTIONS // KILLS, dict[str, int]()
    for _ in range(KILLS):
        await ledger.send(batch // 20, verb="watched", tier="few", tenants=2, takes_s=0.1)
        await ledger.send(batch // 20, tier="narrow", takes_s=0.005)
        await ledger.send(batch - 2 * (batch // 20), takes_s=0.005)
        await ledger.send_later(0.3)
        # Enough to tell how soon they start again, and not the same ones at every kill: those end first.
        aimed = len(in_hand) < WATCHED and ledger.have_ended(in_hand)
        busy = await somebody_busy(ledger) if aimed else set()
        victim = chance.choice([each for each in crew.members if pid_of(each) in busy] or crew.members)
        crew.kill(victim)
        killed_ms = ledger.client.bus.clock.now_ms()
        in_hand |= dict.fromkeys(await running.gone(ledger.redis, pid_of(victim)), killed_ms)
        crew.hire(concurrency=CONCURRENCY, poison_deaths=NONE_IS_POISON)
        # Let them get on: kills must meet workers that work, not only workers that start.
        await ledger.until_ended(max(0, len(ledger.accepted) - 3 * batch))
    await ledger.check(extra_runs=KILLS * CONCURRENCY)
    assert max((await running.most(ledger.redis)).values()) == FEW
    check_recovery(ledger, in_hand)


async def somebody_busy(ledger: Ledger) -> set[int]:
    """Processes with a watched action in their hands; waits for one, unless all of them ended meanwhile."""
    while not (busy := await running.processes(ledger.redis)):
        if await ledger.ended() == len(ledger.accepted):
            break
        await asyncio.sleep(0.01)
    return busy


def check_recovery(ledger: Ledger, in_hand: dict[str, int]) -> None:
    """All but one in a hundred of what was in hand at a kill were claimed again by then."""
    waited = sorted(ledger.claimed_ms[action_id] - killed_ms for action_id, killed_ms in in_hand.items())
    assert waited, "no kill met a watched action"
    slow = waited[len(waited) * 99 // 100]
    assert slow <= (LEASE_S + RECOVERY_S) * 1_000, f"{slow} ms, of {len(waited)} the longest {waited[-1]} ms"


async def test_rolling_restarts_lose_nothing_and_run_nothing_twice(ledger: Ledger, crew: Crew) -> None:
    for _ in range(WORKERS):
        crew.hire(concurrency=CONCURRENCY)
    await workers_registered(ledger, WORKERS)
    async with ledger.following():
        for _ in range(RESTARTS):
            await ledger.send(100, takes_s=0.01)
            oldest: Any = crew.members[0]
            await ledger.until_registered(pid_of(oldest))
            crew.stop(oldest)
            crew.hire(concurrency=CONCURRENCY)
            assert await asyncio.to_thread(crew.gone, oldest) == 0
    await ledger.check(extra_runs=0)
