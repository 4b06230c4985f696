"""100,000 tenants created, served and drained: what of keys and memory is left.

``python -m benchmarks.memory URL`` prints one line of JSON. Time is by hand: a day passes at the end, after
which no limit or quota remembers anything.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

from redis.asyncio import Redis

from nooble_tasks._engine import Engine, Finish, Keys, ManualClock, NewAction, Outcome, Policy

from .loop import obey, run, say

TENANTS, DAY_MS = 100_000, 86_400_000
_POLICY = Path(__file__).with_name("policy.toml")
_TIERS = ("enterprise", "professional", "advance", "free")

LEGEND = (
    "100,000 tenants, an action each, limits and quotas on; left_: after they were served and a day has "
    "passed, compared with after the first action of all; events: the bounded stream of outcomes"
)


async def used(redis: Any) -> tuple[int, float, float]:
    """Keys, the memory of data in MB, and how much of it is the event stream: bounded, and kept."""
    info, keys = await redis.info("memory"), await redis.dbsize()
    events = await redis.memory_usage(Keys().of("events", "d"), samples=0) or 0
    return keys, (info["used_memory"] - info["used_memory_overhead"]) / 1e6, events / 1e6


async def serve(engine: Engine, count: int) -> None:
    """Claim and finish that many."""
    while count:
        claim = await engine.claim("d", "w", 500)
        await engine.finish("d", "w", [Finish(one, Outcome.COMPLETED, b"{}") for one in claim.actions])
        count -= len(claim.actions)


async def main(url: str) -> dict[str, dict[str, float]]:
    """Fill, drain, let time pass, look."""
    clock = ManualClock()
    async with Redis.from_url(url, protocol=2) as redis:
        engine = Engine(redis, policy=Policy.load(_POLICY), clock=clock, response_ttl_ms=2_000)
        engine.duplicate_window_ms = 2_000
        await engine.extend("d", "w", register=True)
        await engine.enqueue("d", [NewAction("first", "bench.noop", "first", "free", b"{}")])
        await serve(engine, 1)
        keys_before, memory_before, events_before = await used(redis)
        for first in range(0, TENANTS, 500):
            numbers = range(first, first + 500)
            await engine.enqueue(
                "d",
                [
                    NewAction(f"x{n}", "bench.noop", f"t{n}", _TIERS[n % 4], b"{}", reply_to="*")
                    for n in numbers
                ],
            )
        keys_full, memory_full, _ = await used(redis)
        await serve(engine, TENANTS)
        clock.advance(DAY_MS + 61_000)
        await engine.extend("d", "w", register=True)
        while (await engine.promote("d")).moved:
            pass
        for _ in range(TENANTS // 500 + 10):
            await engine.promote("d")
        await _expired(redis)
        keys_left, memory_left, events_left = await used(redis)
    return {
        "100,000 tenants": {
            "keys_full": keys_full,
            "memory_full_mb": memory_full,
            "left_keys": keys_left - keys_before,
            "left_memory_mb": memory_left - events_left - memory_before + events_before,
            "left_events_mb": events_left - events_before,
        }
    }


async def _expired(redis: Any) -> None:
    """What expires does so by real time, and the server frees large keys when it finds time."""
    for pattern in ("*:resp:*", "*:done:*"):
        while [key async for key in redis.scan_iter(pattern, count=1000)]:  # noqa: ASYNC110 - no event tells
            await asyncio.sleep(0.2)
    while (await redis.info("memory"))["lazyfree_pending_objects"]:  # noqa: ASYNC110 - nor here
        await asyncio.sleep(0.2)


if __name__ == "__main__":
    obey()
    say(run(main(sys.argv[1])))
