"""taskiq-redis, RedisStreamBroker (its list broker loses what a killed worker held): 100 tasks at a time and
100 prefetched, 100 messages per read, parameters not parsed, ORJSON, results kept 3600 s; enqueued by gather
of 100, as it has no call for many. The consumer group starts at 0, else what was sent before
the worker is skipped.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from typing import Any

from rivals import PAYLOAD, SLOTS, WITHIN_S, cpu_s


async def measure(url: str, count: int) -> dict[str, float]:
    """Enqueue in bulk, then drain."""
    from taskiq.api import run_receiver_task
    from taskiq.serializers import ORJSONSerializer
    from taskiq_redis import RedisAsyncResultBackend, RedisStreamBroker

    results: Any = RedisAsyncResultBackend(redis_url=url, result_ex_time=3600)
    broker: Any = (
        RedisStreamBroker(url=url, consumer_id="0", xread_count=SLOTS)
        .with_result_backend(results)
        .with_serializer(ORJSONSerializer())
    )
    done, seen = asyncio.Event(), 0

    @broker.task(task_name="noop")
    async def noop(x: str) -> dict[str, int]:
        nonlocal seen
        seen += 1
        if seen >= count:
            done.set()
        return {"a": 1}

    await broker.startup()
    started = time.perf_counter()
    for _ in range(0, count, 100):
        await asyncio.gather(*(noop.kiq(PAYLOAD) for _ in range(100)))
    bulk = count / (time.perf_counter() - started)
    started, cpu = time.perf_counter(), cpu_s()
    receiver = run_receiver_task(
        broker, validate_params=False, max_async_tasks=SLOTS, max_prefetch=SLOTS, sync_workers=1
    )
    running = asyncio.create_task(receiver)
    await asyncio.wait_for(done.wait(), WITHIN_S)
    result = {"per_s": count / (time.perf_counter() - started), "worker_us": (cpu_s() - cpu) / count * 1e6}
    print(json.dumps({"bulk_per_s": bulk, **result}), flush=True)
    running.cancel()
    os._exit(0)  # not waited for: a cancelled receiver does not end
