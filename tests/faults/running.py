"""What runs right now, as the handlers say themselves: the engine's own books are not asked.

A killed process says nothing any more; whoever killed it says so for it (``gone``).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from redis.exceptions import RedisError

from nooble_tasks._engine import maintenance

RUNNING = "faults:running"
NOW = "faults:running_now"
MOST = "faults:running_most"

_STARTED = """
if redis.call('HSETNX', KEYS[1], ARGV[1], ARGV[2]) == 0 then return 0 end
local now = redis.call('HINCRBY', KEYS[2], ARGV[2], 1)
if now > tonumber(redis.call('HGET', KEYS[3], ARGV[2]) or 0) then
  redis.call('HSET', KEYS[3], ARGV[2], now)
end
return now
"""
_ENDED = """
local tenant = redis.call('HGET', KEYS[1], ARGV[1])
if not tenant then return 0 end
redis.call('HDEL', KEYS[1], ARGV[1])
return redis.call('HINCRBY', KEYS[2], tenant, -1)
"""


async def started(redis: Any, action_id: str, tenant: str) -> None:
    """A handler of this process began."""
    await redis.eval(_STARTED, 3, RUNNING, NOW, MOST, f"{os.getpid()} {action_id}", tenant)


async def ended(redis: Any, action_id: str) -> None:
    """A handler of this process ended."""
    await redis.eval(_ENDED, 2, RUNNING, NOW, f"{os.getpid()} {action_id}")


async def gone(redis: Any, pid: int) -> list[str]:
    """That process is dead; which actions were in its hands."""
    mine = [field.decode() for field in await redis.hkeys(RUNNING) if field.startswith(b"%d " % pid)]
    for field in mine:
        await redis.eval(_ENDED, 2, RUNNING, NOW, field)
    return [field.split(" ")[1] for field in mine]


async def processes(redis: Any) -> set[int]:
    """Which processes have one in their hands."""
    return {int(field.split(b" ")[0]) for field in await redis.hkeys(RUNNING)}


async def most(redis: Any) -> dict[str, int]:
    """The most that ever ran at once, by tenant and tier."""
    return {tenant.decode(): int(many) for tenant, many in (await redis.hgetall(MOST)).items()}


@asynccontextmanager
async def sampled(redis: Any, streams: list[str]) -> AsyncIterator[dict[str, int]]:
    """The most entries of each stream that were with workers at once, as the server itself counts them: exact
    whatever workers' clocks say, though only every few milliseconds."""
    found = dict.fromkeys(streams, 0)
    sampling = asyncio.create_task(_sample(redis, found))
    try:
        yield found
    finally:
        await maintenance.end_task(sampling)  # once is not always enough


async def _sample(redis: Any, found: dict[str, int]) -> None:
    while True:
        for stream in found:
            with contextlib.suppress(RedisError, OSError):  # no stream, no server
                for consumer in (await redis.xpending(stream, "workers"))["consumers"]:
                    if consumer["name"] == b"running":
                        found[stream] = max(found[stream], consumer["pending"])
        await asyncio.sleep(0.02)
