"""streaQ: concurrency and prefetch 100 (a slot never waits for a read), silent tasks (a log line costs more
than a no-op), results kept 300 s; enqueued by ``enqueue_many`` in pipelines of 100, through coredis.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from rivals import PAYLOAD, SLOTS, WITHIN_S, cpu_s


async def measure(url: str, count: int) -> dict[str, float]:
    """Enqueue in bulk, then drain."""
    from streaq import Worker

    worker: Any = Worker(redis_url=url, concurrency=SLOTS, prefetch=SLOTS, handle_signals=False)
    done, seen = asyncio.Event(), 0

    @worker.task(ttl=300, silent=True)
    async def noop(x: str) -> dict[str, int]:
        nonlocal seen
        seen += 1
        if seen >= count:
            done.set()
        return {"a": 1}

    started = time.perf_counter()
    async with worker:
        for _ in range(0, count, 100):
            await worker.enqueue_many([noop.enqueue(PAYLOAD) for _ in range(100)])
    bulk = count / (time.perf_counter() - started)
    started, cpu = time.perf_counter(), cpu_s()
    running = asyncio.create_task(worker.run_async())
    await asyncio.wait_for(done.wait(), WITHIN_S)
    result = {"per_s": count / (time.perf_counter() - started), "worker_us": (cpu_s() - cpu) / count * 1e6}
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    return {"bulk_per_s": bulk, **result}
