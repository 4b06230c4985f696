"""nooble-tasks under load, each role a process of its own.

``python -m benchmarks.ours enqueue|enqueue_one|drain|call|work URL …``; each prints one line of JSON.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

from nooble_tasks import (
    BaseRedisClient,
    BaseService,
    BaseWorker,
    CommonAppSettings,
    DomainAction,
    RedisManager,
    handles,
)

_POLICY = Path(__file__).with_name("policy.toml")
_TIERS = ("enterprise", "professional", "advance", "free")
_TEXT = "y" * 200


class Noop(BaseService):
    """Does nothing."""

    @handles("bench.noop")
    async def noop(self, data: dict[str, Any]) -> dict[str, Any]:
        """Answer with a small result."""
        return {"a": 1}


def settings(url: str, **changes: Any) -> CommonAppSettings:
    """Settings of every role."""
    return CommonAppSettings(
        domain_name="bench", redis_url=url, tiers_file=_POLICY, log_level="ERROR", **changes
    )


def _actions(first: int, last: int, tenants: int) -> list[DomainAction]:
    return [
        DomainAction(
            action_type="bench.noop",
            tenant_id=f"tenant{i % tenants}",
            tenant_tier=_TIERS[i % tenants % 4],
            data={"x": _TEXT},
        )
        for i in range(first, last)
    ]


async def enqueue(url: str, count: int, tenants: int) -> dict[str, float]:
    """Put ``count`` actions of ``tenants`` tenants in line, 100 per call; making the models is included."""
    chosen = settings(url)
    async with RedisManager(chosen) as manager:
        client = BaseRedisClient("bench", manager.get_client(), chosen)
        started, cpu = time.perf_counter(), _cpu()
        for first in range(0, count, 100):
            await client.enqueue_actions(_actions(first, min(first + 100, count), tenants))
        result = {
            "bulk_per_s": count / (time.perf_counter() - started),
            "client_us": (_cpu() - cpu) / count * 1e6,
        }
        await client.close()
        return result


async def enqueue_one(url: str, count: int) -> dict[str, float]:
    """Enqueue one by one, beside a bare XADD of the same size from the same client."""
    chosen = settings(url)
    async with RedisManager(chosen) as manager:
        redis = manager.get_client()
        client = BaseRedisClient("bench", redis, chosen)
        (first,) = _actions(0, 1, 100)
        payload = first.to_json()
        await client.enqueue_action(first)
        started = time.perf_counter()
        for _ in range(count):
            await redis.xadd("bench-bare", {"data": payload})
        bare = count / (time.perf_counter() - started)
        started = time.perf_counter()
        for action in _actions(0, count, 100):
            await client.enqueue_action(action)
        result = {"one_by_one_per_s": count / (time.perf_counter() - started), "bare_xadd_per_s": bare}
        await client.close()
        return result


async def drain(url: str, count: int, slots: int) -> dict[str, float]:
    """Run what is in line until nothing is left, one worker process with ``slots`` slots, results on."""
    chosen = settings(url, concurrency=slots)
    async with RedisManager(chosen) as manager:
        worker = BaseWorker(chosen, manager.get_client(), Noop(app_settings=chosen), burst=True)
        started, cpu = time.perf_counter(), _cpu()
        await worker.run()
        wall = time.perf_counter() - started
        used = _cpu() - cpu
        await worker.redis_client.close()
        peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        return {"per_s": count / wall, "worker_us": used / count * 1e6, "rss_mb": peak_mb}


async def work(url: str, slots: int) -> None:
    """A worker that runs until it is told to stop; says `ready` once it sleeps."""
    chosen = settings(url, concurrency=slots)
    async with RedisManager(chosen) as manager:
        worker = BaseWorker(chosen, manager.get_client(), Noop(app_settings=chosen))
        worker.install_signal_handlers()
        print("ready", flush=True)
        await worker.run()
        await worker.redis_client.close()


async def call(url: str, count: int) -> dict[str, float]:
    """Round trips of single calls on an idle system, beside bare round trips of the same client."""
    chosen = settings(url)
    async with RedisManager(chosen) as manager:
        redis = manager.get_client()
        client = BaseRedisClient("bench", redis, chosen)

        async def once() -> None:
            (action,) = _actions(0, 1, 1)
            await client.request(action, 10)

        async def ping() -> None:
            await redis.ping()

        for _ in range(20):
            await once()
        pings, calls = await _times(ping, count), await _times(once, count)
        await client.close()
        return {
            "ping_p50_ms": pings[len(pings) // 2],
            "call_p50_ms": calls[len(calls) // 2],
            "call_p99_ms": calls[int(len(calls) * 0.99)],
        }


async def _times(once: Any, count: int) -> list[float]:
    times = []
    for _ in range(count):
        started = time.perf_counter()
        await once()
        times.append((time.perf_counter() - started) * 1000)
    return sorted(times)


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main(role: str, url: str, *numbers: str) -> None:
    """Run one role and print what it measured."""
    roles: dict[str, Any] = {role.__name__: role for role in (enqueue, enqueue_one, drain, call, work)}
    try:
        import uvloop

        run: Any = uvloop.run
    except ImportError:
        run = asyncio.run
    result = run(roles[role](url, *map(int, numbers)))
    if result is not None:
        print(json.dumps(result))


if __name__ == "__main__":
    main(*sys.argv[1:])
