"""dramatiq: 100 threads, plain actors (its asyncio middleware was dearer for a no-op), default prefetch,
results in Redis; enqueued in a loop, as it has no call for many.
"""

from __future__ import annotations

import threading
import time
from typing import Any

from rivals import PAYLOAD, SLOTS, WITHIN_S, cpu_s


def measure(url: str, count: int) -> dict[str, float]:
    """Enqueue in bulk, then drain."""
    import dramatiq
    from dramatiq.brokers.redis import RedisBroker
    from dramatiq.results import Results
    from dramatiq.results.backends import RedisBackend

    broker: Any = RedisBroker(url=url)
    broker.add_middleware(Results(backend=RedisBackend(url=url)))
    dramatiq.set_broker(broker)
    done, lock, seen = threading.Event(), threading.Lock(), 0

    @dramatiq.actor(store_results=True)
    def noop(x: str) -> dict[str, int]:
        nonlocal seen
        with lock:
            seen += 1
            if seen >= count:
                done.set()
        return {"a": 1}

    started = time.perf_counter()
    for _ in range(count):
        noop.send(PAYLOAD)
    bulk = count / (time.perf_counter() - started)
    worker = dramatiq.Worker(broker, worker_threads=SLOTS)
    started, cpu = time.perf_counter(), cpu_s()
    worker.start()
    if not done.wait(WITHIN_S):
        raise TimeoutError(f"{seen} of {count} tasks after {WITHIN_S} s")
    result = {"per_s": count / (time.perf_counter() - started), "worker_us": (cpu_s() - cpu) / count * 1e6}
    worker.stop()
    return {"bulk_per_s": bulk, **result}
