"""Workers that die without a word, and workers that are replaced all the time."""

from __future__ import annotations

import asyncio
import random
from typing import Any

from nooble_tasks._engine import inspection
from tests.faults.crew import Crew
from tests.faults.doses import dose
from tests.faults.ledger import Ledger
from tests.faults.workshop import DOMAIN

KILLS, ACTIONS, WORKERS = dose(12, 1_000), dose(2_500, 100_000), dose(4, 8)
RESTARTS = dose(8, 200)
CONCURRENCY = 20


async def workers_registered(ledger: Ledger, many: int) -> None:
    async with asyncio.timeout(30):
        while (await inspection.domain_counts(ledger.client.bus.engine, DOMAIN)).workers < many:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def test_kill_9_of_workers_loses_nothing(ledger: Ledger, crew: Crew, chance: random.Random) -> None:
    """Extra runs at most what was in hand at the kills; nothing answered twice; limits hold."""
    for _ in range(WORKERS):
        crew.hire(concurrency=CONCURRENCY)
    await workers_registered(ledger, WORKERS)
    batch = ACTIONS // KILLS
    for _ in range(KILLS):
        await ledger.send(batch - batch // 20, takes_s=0.005)
        await ledger.send(batch // 20, tier="narrow", takes_s=0.005)
        crew.kill(chance.choice(crew.members))
        crew.hire(concurrency=CONCURRENCY)
        # Let them get on: kills must meet workers that work, not only workers that start.
        await ledger.until_ended(max(0, len(ledger.accepted) - 3 * batch))
    await ledger.check(extra_runs=KILLS * CONCURRENCY)


async def test_rolling_restarts_lose_nothing_and_run_nothing_twice(ledger: Ledger, crew: Crew) -> None:
    for _ in range(WORKERS):
        crew.hire(concurrency=CONCURRENCY)
    await workers_registered(ledger, WORKERS)
    for _ in range(RESTARTS):
        await ledger.send(100, takes_s=0.01)
        oldest: Any = crew.members[0]
        crew.stop(oldest)
        crew.hire(concurrency=CONCURRENCY)
        assert await asyncio.to_thread(crew.gone, oldest) == 0
    await ledger.check(extra_runs=0)
