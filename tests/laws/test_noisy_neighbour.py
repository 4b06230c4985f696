"""Noisy neighbour on a live worker: a backlog of one tenant, then fifty tenants that send ten each.

In starts, which no machine's speed changes: how many actions of others start between the enqueue of an action
and its own start. First come, first served makes all fifty wait for the whole backlog. In milliseconds:
``python -m benchmarks noisy``.
"""

from __future__ import annotations

import asyncio
from itertools import count
from typing import Any

from redis.asyncio import Redis

from nooble_tasks import BaseRedisClient, BaseService, DomainAction, handles
from tests.nooble_tasks.support import settings_for, soon, working

BACKLOG, TENANTS, EACH, SLOTS = 4_000, 50, 10, 10


class Starts(BaseService):
    """Notes who starts, in order; from the first start on the test may send more."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"app_settings": settings_for(), **options})
        self.order: list[str] = []
        self.begun = asyncio.Event()
        self.all_started = asyncio.Event()

    @handles("probe.nap")
    async def nap(self, action: DomainAction) -> None:
        """Give way once, as an action that waits for something does."""
        self.order.append(action.tenant_id)
        self.begun.set()
        if len(self.order) == BACKLOG + TENANTS * EACH:
            self.all_started.set()
        await asyncio.sleep(0)


async def test_small_tenants_wait_for_turns_and_not_for_a_backlog(redis: Redis) -> None:
    service = Starts()
    async with working(redis, service, concurrency=SLOTS):
        client = BaseRedisClient("probe", redis, settings_for())
        await client.enqueue_actions([_action("noisy") for _ in range(BACKLOG)])
        await soon(service.begun.wait())
        sent_at = {}
        for number in range(TENANTS):
            name = f"small-{number}"
            await client.enqueue_actions([_action(name) for _ in range(EACH)])
            sent_at[name] = len(service.order)
        await soon(service.all_started.wait(), 30)
        await client.close()
    seen: dict[str, count[int]] = {name: count(1) for name in sent_at}
    for at, name in enumerate(service.order):
        if name in seen:
            turn = next(seen[name])
            # Every tenant has at most one start more than this one has turns, and the slots were full.
            assert at - sent_at[name] <= (TENANTS + 1) * (turn + 1) + 2 * SLOTS, (name, turn)


def _action(tenant: str) -> DomainAction:
    return DomainAction(action_type="probe.nap", tenant_id=tenant, tenant_tier="enterprise", data={})
