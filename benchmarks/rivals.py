"""Rivals under the same load, each in an environment of its own below ``.venv-rivals``.

``python rivals.py NAME URL COUNT`` runs inside such an environment and prints one line of JSON, so this file
imports nothing of ours. Settings are the best documented ones for throughput: they are in the code.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import json
import os
import resource
import sys
import time
from typing import Any

SLOTS = 100
PAYLOAD = "y" * 200
WITHIN_S = 120  # then a rival has failed


def cpu_s() -> float:
    """CPU seconds this process has used."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def arq(url: str, count: int) -> dict[str, float]:
    """arq 0.28: max_jobs 100, poll_delay 10 ms, results kept; enqueued by gather of 100."""
    from urllib.parse import urlparse

    from arq import create_pool
    from arq.connections import RedisSettings
    from arq.worker import Worker, func

    async def noop(ctx: Any, x: str) -> dict[str, int]:
        return {"a": 1}

    parsed = urlparse(url)
    where = (
        RedisSettings(unix_socket_path=parsed.path)
        if parsed.scheme == "unix"
        else RedisSettings.from_dsn(url)
    )
    pool = await create_pool(where)
    started = time.perf_counter()
    for _ in range(0, count, 100):
        await asyncio.gather(*(pool.enqueue_job("noop", "y" * 200) for _ in range(100)))
    bulk = count / (time.perf_counter() - started)
    worker = Worker(
        functions=[func(noop, name="noop", keep_result=3600)],
        redis_settings=where,
        burst=True,
        max_jobs=SLOTS,
        poll_delay=0.01,
        handle_signals=False,
    )
    started, cpu = time.perf_counter(), cpu_s()
    await worker.async_run()
    result = {"per_s": count / (time.perf_counter() - started), "worker_us": (cpu_s() - cpu) / count * 1e6}
    await worker.close()
    await pool.aclose()
    return {"bulk_per_s": bulk, **result}


async def saq(url: str, count: int) -> dict[str, float]:
    """SAQ: concurrency 100, results kept 600 s; enqueued by gather of 100."""
    from redis.asyncio import Redis
    from saq import Worker
    from saq.queue.redis import RedisQueue

    done = asyncio.Event()
    seen = 0

    async def noop(ctx: Any, *, x: str) -> dict[str, int]:
        nonlocal seen
        seen += 1
        if seen >= count:
            done.set()
        return {"a": 1}

    queue = RedisQueue(Redis.from_url(url))
    await queue.connect()
    started = time.perf_counter()
    for _ in range(0, count, 100):
        await asyncio.gather(*(queue.enqueue("noop", x="y" * 200, timeout=60, ttl=600) for _ in range(100)))
    bulk = count / (time.perf_counter() - started)
    worker = Worker(queue, functions=[("noop", noop)], concurrency=SLOTS)
    started, cpu = time.perf_counter(), cpu_s()
    task = asyncio.create_task(worker.start())
    await done.wait()
    result = {"per_s": count / (time.perf_counter() - started), "worker_us": (cpu_s() - cpu) / count * 1e6}
    await worker.stop()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await queue.disconnect()
    return {"bulk_per_s": bulk, **result}


RIVALS: dict[str, Any] = {"arq": arq, "saq": saq}


def measure(name: str, url: str, count: int) -> Any:
    """Run one rival: those that need more than a few lines have a file of their own, ``rival_<name>.py``."""
    call = RIVALS.get(name) or importlib.import_module(f"rival_{name}").measure
    if not inspect.iscoroutinefunction(call):
        return call(url, count)
    try:
        import uvloop

        return uvloop.run(call(url, count))
    except ImportError:
        return asyncio.run(call(url, count))


if __name__ == "__main__":
    name, address, number = sys.argv[1:]
    print(json.dumps(measure(name, address, int(number))), flush=True)
    os._exit(0)  # threads of a rival that does not end are not what is measured
