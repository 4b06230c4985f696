"""Many idle workers and single actions: a stampede would show in the number of commands."""

from __future__ import annotations

import asyncio
from typing import Any

from nooble_tasks._engine import inspection
from tests.faults.crew import Crew
from tests.faults.doses import dose
from tests.faults.ledger import Ledger
from tests.faults.workshop import DOMAIN

PROCESSES, EACH, ACTIONS = dose(2, 10), dose(8, 20), dose(50, 1_000)
SCRIPTS_PER_ACTION = 4
"""enqueue, the claim of the one that was woken, its finish, and one more look."""

ROUND_TRIPS = dose(300, 10_000)


async def test_one_action_wakes_one_worker(ledger: Ledger, crew: Crew) -> None:
    """However many sleep."""
    for _ in range(PROCESSES):
        crew.hire(concurrency=1, workers=EACH, lease_s=600)  # so that nothing else calls meanwhile
    sleepers = ledger.client.bus.keys.of("sleepers", DOMAIN)
    async with asyncio.timeout(60):
        while await ledger.redis.zcard(sleepers) < PROCESSES * EACH:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    await ledger.send(1)
    await ledger.until_ended()
    before = await scripts_run(ledger)
    for _ in range(ACTIONS):
        await ledger.send(1)
    await ledger.until_ended()
    run = await scripts_run(ledger) - before
    # Now and then one looks at schedules.
    assert run <= SCRIPTS_PER_ACTION * ACTIONS + 5 * PROCESSES * EACH, f"{run} scripts for {ACTIONS} actions"
    await ledger.check(extra_runs=0)
    assert (await inspection.domain_counts(ledger.client.bus.engine, DOMAIN)).workers == PROCESSES * EACH


async def scripts_run(ledger: Ledger) -> int:
    stats: dict[str, Any] = await ledger.redis.info("commandstats")
    return sum(stats.get(f"cmdstat_{name}", {}).get("calls", 0) for name in ("eval", "evalsha"))


async def test_streams_that_empty_and_fill_all_the_time_lose_nothing(ledger: Ledger, crew: Crew) -> None:
    """An empty stream is deleted with its group; an enqueue races that, again and again."""
    for _ in range(2):
        crew.hire(concurrency=2)
    await ledger.send(1, tenants=1)
    await ledger.until_ended()
    for _ in range(ROUND_TRIPS // 2):
        await asyncio.gather(ledger.send(1, tenants=1), ledger.send(1, tenants=1))
    await ledger.check(extra_runs=0)
