"""What a server holds when all has ended and what expires has expired."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from redis.exceptions import RedisError

from tests.faults.ledger import Ledger
from tests.faults.workshop import DOMAIN

PATIENCE_S = 60


async def until_expired(ledger: Ledger) -> None:
    """Until the responses and the remembered ids have expired."""
    async with asyncio.timeout(PATIENCE_S):
        for pattern in ("*:resp:*", "*:done:*"):
            while [key async for key in ledger.redis.scan_iter(match=pattern, count=10_000)]:  # noqa: ASYNC110
                await asyncio.sleep(0.1)


async def used_memory(ledger: Ledger) -> int:
    """Bytes, without the tests' own book and without the events, which are bounded; when all has ended.

    Both are taken away first: what a server says of a large key's size is an estimate.
    """
    redis: Any = ledger.redis
    await ledger.put_runs_away()
    await ledger.follow()
    await redis.xtrim(ledger.client.bus.keys.of("events", DOMAIN), maxlen=0, approximate=False)
    with contextlib.suppress(RedisError):  # it knows no such command
        await redis.memory_purge()
    return int((await redis.info("memory"))["used_memory"])
