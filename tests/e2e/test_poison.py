"""Poison in real processes: an action that kills its worker, again and again, ends as a dead letter."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter

import pytest

from nooble_tasks import WorkerDied
from tests.e2e.processes import until
from tests.e2e.test_workers import Shop, shop

__all__ = ["shop"]

SETTINGS = {"NOOBLE_LEASE_S": "1", "NOOBLE_POISON_DEATHS": "3"}


@pytest.mark.faults
async def test_what_kills_its_workers_is_buried_and_the_others_come_through(shop: Shop) -> None:
    handles = await shop.place(40, takes_s=0.05)
    poison = await shop.client.enqueue_action("shop.order.crash", tenant_id="tenant-1", tier="enterprise")
    waiting = asyncio.create_task(poison.result(60))
    deaths = 0
    while not waiting.done():
        worker = await shop.worker("--concurrency", "10", may_die=True, **SETTINGS)

        async def over() -> bool:
            return waiting.done() or worker.process.poll() is not None  # noqa: B023

        await until(over, "the worker dies or the caller is told")
        if worker.process.poll() is not None:
            assert worker.process.returncode == -signal.SIGKILL, worker.output
            deaths += 1
            assert deaths <= 3
    with pytest.raises(WorkerDied, match="3 workers died"):
        await waiting
    assert deaths == 3
    await asyncio.gather(*(handle.result(30) for handle in handles))
    assert await shop.responses_stored([*handles, poison]) == {1: 41}
    runs = Counter(str(run["id"]) for run in await shop.runs())
    assert runs[poison.action_id] == 3
    opened = await shop.client.dead_letters.show("shop", poison.action_id)
    assert [(each.attempt, each.died) for each in opened.attempts] == [(1, True), (2, True), (3, False)]
    assert opened.letter.reason.startswith("poison: 3 workers died")
    assert await shop.client.dead_letters.count("shop") == {"tenant-1": 1}
