"""Much that is due later, while who promotes it is killed again and again: each starts once, and in time."""

from __future__ import annotations

import asyncio
import random

from tests.faults.crew import Crew
from tests.faults.doses import dose
from tests.faults.ledger import Ledger

DELAYED, KILLS, OVER_S = dose(300, 100_000), dose(3, 100), dose(3, 100)
WORKERS = 3
CONCURRENCY = 20
LATE_S = 1.0 + 5.0
"""What was in hand at a kill: its lease of a second, and five. Killed twice: twice that."""


async def test_each_is_started_once(ledger: Ledger, crew: Crew, chance: random.Random) -> None:
    """Whoever is left promotes; what the dead had in hand comes late by its lease and some seconds."""
    for _ in range(WORKERS):
        crew.hire(concurrency=CONCURRENCY)
    due_ms: dict[str, int] = {}
    async with ledger.following(), asyncio.TaskGroup() as group:
        group.create_task(kill_some(crew, chance))
        for _ in range(DELAYED):
            delay_s = chance.uniform(0.5, OVER_S)
            due = ledger.client.bus.clock.now_ms() + int(delay_s * 1000)
            await ledger.send_later(delay_s)
            due_ms[ledger.accepted[-1]] = due
    await ledger.until_ended()
    await ledger.check(extra_runs=KILLS * CONCURRENCY)
    late = sorted(ledger.claimed_ms[action_id] - due for action_id, due in due_ms.items())
    assert late[0] >= -50, f"started {-late[0]} ms too early"
    assert late[len(late) * 99 // 100] <= LATE_S * 1_000, f"{late[-1]} ms late"
    assert late[len(late) // 2] <= 1_000, f"half of them are {late[len(late) // 2]} ms late and more"


async def kill_some(crew: Crew, chance: random.Random) -> None:
    """One after the other, over the time in which actions come due."""
    for _ in range(KILLS):
        await asyncio.sleep(OVER_S / KILLS)
        await asyncio.to_thread(crew.kill, chance.choice(crew.members))
        crew.hire(concurrency=CONCURRENCY)
