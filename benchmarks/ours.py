"""nooble-tasks under load, each role a process of its own: ``python -m benchmarks.ours ROLE ORDER``.

``ORDER`` is JSON, as for the rivals; what a role measured is one line of JSON.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import sys
import threading
import time
from dataclasses import dataclass
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

from .loop import cpu_s, leave_alone_what_is_loaded, obey, run, say

_POLICY = Path(__file__).with_name("policy.toml")
_TIERS = ("enterprise", "professional", "advance", "free")
_TEXTS = {"large": "y" * 10_000}
_PLAIN_TEXT = "y" * 200
_TYPES = {"noop": "bench.noop", "large": "bench.noop", "sleep": "bench.sleep", "hold": "bench.hold"}


@dataclass
class Order:
    """What one process shall do."""

    url: str
    count: int = 0
    kind: str = "noop"
    tenants: int = 100
    slots: int = 100
    settings: str = "best"
    notes: str = ""
    stuck: bool = False
    tag: str = ""
    within_s: float = 120.0


class Bench(BaseService):
    """The handlers."""

    order: Order
    notes: int

    @handles("bench.noop")
    async def noop(self, data: dict[str, Any]) -> dict[str, Any]:
        """Answer with a small result."""
        return {"a": 1}

    @handles("bench.sleep")
    async def sleep(self, data: dict[str, Any]) -> dict[str, Any]:
        """Take 1 ms."""
        await asyncio.sleep(0.001)
        return {"a": 1}

    @handles("bench.hold")
    async def hold(self, data: dict[str, Any]) -> dict[str, Any]:
        """Note that it started; do not end where this is asked for."""
        os.write(self.notes, f"{data['x']} {time.time()}\n".encode())
        if self.order.stuck:
            await asyncio.sleep(600)
        return {"a": 1}


def settings(order: Order, **changes: Any) -> CommonAppSettings:
    """Settings of every role: those as installed, but for the policy."""
    if order.settings == "tuned":
        changes["lease_s"] = 3
    return CommonAppSettings(
        domain_name="bench", redis_url=order.url, tiers_file=_POLICY, log_level="ERROR", **changes
    )


def _actions(order: Order, first: int, last: int) -> list[DomainAction]:
    text = _TEXTS.get(order.kind, _PLAIN_TEXT)
    return [
        DomainAction(
            action_type=_TYPES[order.kind],
            tenant_id=f"tenant{i % order.tenants}",
            tenant_tier=_TIERS[i % order.tenants % 4],
            data={"x": f"{order.tag}{i}" if order.tag else text},
        )
        for i in range(first, last)
    ]


async def enqueue(order: Order) -> dict[str, float]:
    """Put actions in line, 100 per call, two calls under way; making the models is included."""
    chosen = settings(order)
    async with RedisManager(chosen) as manager:
        client = BaseRedisClient("bench", manager.get_client(), chosen)
        started, cpu = time.perf_counter(), cpu_s()
        lists = iter(range(0, order.count, 100))

        async def send_lists() -> None:
            for first in lists:
                await client.enqueue_actions(_actions(order, first, min(first + 100, order.count)))

        await asyncio.gather(send_lists(), send_lists())
        result = {
            "bulk_per_s": order.count / (time.perf_counter() - started),
            "client_us": (cpu_s() - cpu) / order.count * 1e6,
        }
        await client.close()
        return result


async def one_by_one(order: Order) -> dict[str, float]:
    """Enqueue one by one, beside a bare XADD of the same size from the same client."""
    chosen = settings(order)
    async with RedisManager(chosen) as manager:
        redis = manager.get_client()
        client = BaseRedisClient("bench", redis, chosen)
        (first,) = _actions(order, 0, 1)
        payload = first.to_json()
        await client.enqueue_action(first)
        started = time.perf_counter()
        for _ in range(order.count):
            await redis.xadd("bench-bare", {"data": payload})
        bare = order.count / (time.perf_counter() - started)
        started = time.perf_counter()
        for action in _actions(order, 0, order.count):
            await client.enqueue_action(action)
        result = {"one_by_one_per_s": order.count / (time.perf_counter() - started), "bare_xadd_per_s": bare}
        await client.close()
        return result


async def drain(order: Order) -> dict[str, float]:
    """Run what is in line until nothing is left, one worker process, results on."""
    chosen = settings(order, concurrency=order.slots)
    async with RedisManager(chosen) as manager:
        worker = BaseWorker(chosen, manager.get_client(), Bench(app_settings=chosen), burst=True)
        leave_alone_what_is_loaded()
        started, cpu = time.perf_counter(), cpu_s()
        await worker.run()
        wall = time.perf_counter() - started
        used = cpu_s() - cpu
        await worker.redis_client.close()
        peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        return {"per_s": order.count / wall, "worker_us": used / order.count * 1e6, "rss_mb": peak_mb}


async def work(order: Order, told: threading.Event) -> None:
    """Once told so, work until the process is ended."""
    chosen = settings(order, concurrency=order.slots)
    async with RedisManager(chosen) as manager:
        service = Bench(app_settings=chosen)
        service.order = order
        service.notes = os.open(order.notes or os.devnull, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        worker = BaseWorker(chosen, manager.get_client(), service)
        leave_alone_what_is_loaded()
        print("ready", flush=True)
        await asyncio.to_thread(told.wait)
        running = asyncio.create_task(worker.run())
        print("working", flush=True)
        await running


async def call(order: Order) -> dict[str, float]:
    """Round trips of single calls on an idle system, beside bare round trips of the same client."""
    chosen = settings(order)
    async with RedisManager(chosen) as manager:
        redis = manager.get_client()
        client = BaseRedisClient("bench", redis, chosen)

        async def once() -> None:
            (action,) = _actions(order, 0, 1)
            await client.request(action, 10)

        async def ping() -> None:
            await redis.ping()

        for _ in range(20):
            await once()
        pings = await _times(ping, order.count, order.within_s)
        cpu = cpu_s()
        calls = await _times(once, order.count, order.within_s)
        cpu = cpu_s() - cpu
        await client.close()
        return {
            "ping_p50_ms": pings[len(pings) // 2],
            "call_p50_ms": calls[len(calls) // 2],
            "call_p99_ms": calls[int(len(calls) * 0.99)],
            "calls": len(calls),
            "caller_us": cpu / len(calls) * 1e6,
        }


async def _times(once: Any, count: int, within_s: float) -> list[float]:
    times: list[float] = []
    until = time.perf_counter() + within_s
    while len(times) < count and time.perf_counter() < until:
        started = time.perf_counter()
        await once()
        times.append((time.perf_counter() - started) * 1000)
    return sorted(times)


def main(does: str, text: str) -> None:
    """Run one role and print what it measured."""
    told, order = obey(), Order(**json.loads(text))
    if does == "work":
        run(work(order, told))
    else:
        roles: dict[str, Any] = {role.__name__: role for role in (enqueue, one_by_one, drain, call)}
        say(run(roles[does](order)))


if __name__ == "__main__":
    main(*sys.argv[1:])
