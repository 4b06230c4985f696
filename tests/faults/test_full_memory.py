"""A server without memory while much runs: new work is refused, everything that runs ends and answers."""

from __future__ import annotations

import asyncio

import pytest

from nooble_tasks import QueueUnavailable
from nooble_tasks.embedded import EmbeddedServer
from tests.faults.crew import Crew
from tests.faults.doses import dose
from tests.faults.ledger import Ledger
from tests.faults.workshop import DOMAIN, RUNS

IN_FLIGHT = dose(100, 1_000)
WORKERS = 2
TAKES_S = 3.0


async def test_what_runs_ends_and_answers(redis_server: EmbeddedServer) -> None:
    """A refused enqueue names the cause and leaves nothing."""
    options = {"maxmemory-policy": "noeviction"}
    binary = redis_server.binary.path
    with EmbeddedServer(persist=False, binary=binary, options=options) as server, Crew(server.url) as crew:
        async with Ledger.opened(server.url) as ledger:
            for _ in range(WORKERS):
                crew.hire(lease_s=15, concurrency=IN_FLIGHT // WORKERS)
            await ledger.send(IN_FLIGHT, takes_s=TAKES_S)
            await until_running(ledger, IN_FLIGHT)
            await ledger.redis.config_set("maxmemory", 1)
            with pytest.raises(QueueUnavailable, match="memory"):
                await ledger.client.enqueue_action(f"{DOMAIN}.work", {"number": -1}, tenant_id="late")
            await ledger.until_ended()
            await ledger.redis.config_set("maxmemory", 0)
            await ledger.send(10)
            await ledger.check(extra_runs=0)


async def until_running(ledger: Ledger, many: int) -> None:
    async with asyncio.timeout(30):
        while await ledger.redis.hlen(RUNS) < many:  # noqa: ASYNC110 - a server sets no event
            await asyncio.sleep(0.02)
