"""A worker dies with kill -9 while it holds actions that it has claimed ahead and not begun."""

from __future__ import annotations

import asyncio

from nooble_tasks._engine import inspection, usage
from tests.faults.crew import Crew, pid_of
from tests.faults.ledger import Ledger
from tests.faults.workshop import DOMAIN, GATE, RUNS

SLOTS, AHEAD, ACTIONS = 2, 4, 12
HELD = SLOTS + AHEAD


async def until_it_holds(ledger: Ledger, worker_id: str, many: int, begun: int) -> None:
    """So many actions are its own, and so many have begun."""
    owned = ledger.client.bus.keys.of("owned", DOMAIN, worker_id)
    async with asyncio.timeout(30):
        while (await ledger.redis.hlen(owned), await ledger.redis.hlen(RUNS)) != (many, begun):  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def used(ledger: Ledger) -> int:
    """How many starts the tenant's limit counts."""
    [of_tier] = await usage.limits_in_use(ledger.client.bus.engine, DOMAIN, "tenant-0")
    [limit] = of_tier.limits
    return limit.used


async def test_what_was_claimed_ahead_is_not_lost_and_keeps_its_order(ledger: Ledger, crew: Crew) -> None:
    """Nobody knows which of them had begun: all count as started, once each time they were claimed."""
    victim = crew.hire(concurrency=SLOTS, claims_ahead=AHEAD)
    await ledger.until_registered(pid_of(victim))
    [worker] = await ledger.redis.zrange(ledger.client.bus.keys.of("workers", DOMAIN), 0, -1)
    operator = ledger.client.operator
    await operator.set_tenant("tenant-0", by="test", limits=["1000/hour"], domains=[DOMAIN], unseen=True)
    await ledger.send(ACTIONS, verb="wait", tenants=1)
    await until_it_holds(ledger, worker.decode(), HELD, SLOTS)
    assert await used(ledger) == HELD
    await operator.pause_tenant("tenant-0", by="test", domains=[DOMAIN])
    crew.kill(victim)
    crew.hire(concurrency=1)  # one after the other: they end in the order in which they start
    await until_it_holds(ledger, worker.decode(), 0, SLOTS)
    await ledger.redis.set(GATE, 1)
    await operator.resume_tenant("tenant-0", by="test", domains=[DOMAIN])
    await ledger.until_ended()
    events, _ = await inspection.recent_events(ledger.client.bus.engine, DOMAIN)
    ends = [event for event in events if isinstance(event, inspection.OutcomeEvent)]
    assert [end.action_id for end in ends] == ledger.accepted
    assert [end.attempt for end in ends] == [2] * HELD + [1] * (ACTIONS - HELD)
    assert await used(ledger) == HELD + ACTIONS
    await operator.clear_tenant("tenant-0", by="test", domains=[DOMAIN])
    await ledger.check(extra_runs=SLOTS)
