"""Celery: 100 threads, prefetch 4 per thread, no gossip, mingle or heartbeat (as its guide says for speed),
JSON, results in Redis; enqueued in a loop, as it has no call for many.
"""

from __future__ import annotations

import threading
import time
from typing import Any

from rivals import PAYLOAD, SLOTS, WITHIN_S, cpu_s


def measure(url: str, count: int) -> dict[str, float]:
    """Enqueue in bulk, then drain."""
    from celery import Celery

    address = url.replace("unix://", "redis+socket://", 1)
    app: Any = Celery("bench", broker=address, backend=address, set_as_current=True)
    app.conf.update(
        worker_prefetch_multiplier=4,
        task_serializer="json",
        result_expires=3600,
        worker_hijack_root_logger=False,
    )
    done, lock, seen = threading.Event(), threading.Lock(), 0

    @app.task(name="noop")
    def noop(x: str) -> dict[str, int]:
        nonlocal seen
        with lock:
            seen += 1
            if seen >= count:
                done.set()
        return {"a": 1}

    started = time.perf_counter()
    for _ in range(count):
        noop.delay(PAYLOAD)
    bulk = count / (time.perf_counter() - started)
    worker = app.WorkController(
        app=app,
        pool="threads",
        concurrency=SLOTS,
        loglevel="ERROR",
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
    )
    started, cpu = time.perf_counter(), cpu_s()
    threading.Thread(target=worker.start, daemon=True).start()
    if not done.wait(WITHIN_S):
        raise TimeoutError(f"{seen} of {count} tasks after {WITHIN_S} s")
    return {
        "bulk_per_s": bulk,
        "per_s": count / (time.perf_counter() - started),
        "worker_us": (cpu_s() - cpu) / count * 1e6,
    }
