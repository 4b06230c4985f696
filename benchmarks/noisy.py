"""Noisy neighbour: a tenant's backlog of 10,000 actions of 2 ms, then 50 tenants that send 10 each; 10 slots.

Beside it in the same round: the same work of a single tenant, and how late tenants start after their limit
has freed. Run as a process: ``python -m benchmarks.noisy work|send URL …``; prints lines of JSON.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
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

from . import processes
from .loop import leave_alone_what_is_loaded, obey, run, say
from .processes import Role
from .server import flush

_POLICY = Path(__file__).with_name("noisy.toml")
BACKLOG, TENANTS, EACH, SLOTS = 10_000, 50, 10, 10
LIMITED, LIMITED_EACH = 20, 8
_WINDOW_S = 1.001

LEGEND = (
    "wait_: of the 50 tenants, from enqueue to start; vs_turns: over what their turns take at the speed of "
    "this drain; vs_one_tenant: drain time over that of the same work of one tenant; late_: start of a held "
    "tenant after its limit (2/second) has freed"
)


class Naps(BaseService):
    """Actions that take 2 ms; notes when they start."""

    def __init__(self, count: int, **options: Any) -> None:
        super().__init__(**options)
        self.starts: list[tuple[str, float, float]] = []
        self.left = count
        self.all_done = asyncio.Event()

    @handles("nap.short")
    async def short(self, data: dict[str, Any], action: DomainAction) -> None:
        """Sleep for 2 ms."""
        self.starts.append((action.tenant_id, data["at"], time.time()))
        await asyncio.sleep(0.002)
        self.left -= 1
        if not self.left:
            self.all_done.set()


def settings(url: str) -> CommonAppSettings:
    """Settings of both roles."""
    return CommonAppSettings(
        domain_name="nap",
        redis_url=url,
        tiers_file=_POLICY,
        log_level="ERROR",
        server_check="off",
        concurrency=SLOTS,
    )


async def work(told: threading.Event, url: str, count: int) -> dict[str, Any]:
    """Run until ``count`` actions have ended; how long it took, when each was sent and started."""
    chosen = settings(url)
    async with RedisManager(chosen) as manager:
        service = Naps(count, app_settings=chosen)
        worker = BaseWorker(chosen, manager.get_client(), service)
        leave_alone_what_is_loaded()
        print("ready", flush=True)
        await asyncio.to_thread(told.wait)
        began = time.time()
        running = asyncio.create_task(worker.run())
        await service.all_done.wait()
        drain_s = time.time() - began
        await worker.stop()
        await running
        await worker.redis_client.close()
    return {"drain_s": drain_s, "starts": service.starts}


async def send(told: threading.Event, url: str, prefix: str, tier: str, tenants: int, each: int) -> None:
    """Send ``each`` actions of every tenant, one call per tenant."""
    chosen = settings(url)
    async with RedisManager(chosen) as manager:
        client = BaseRedisClient("nap", manager.get_client(), chosen)
        print("ready", flush=True)
        await asyncio.to_thread(told.wait)
        for number in range(tenants):
            name = f"{prefix}{number}"
            for first in range(0, each, 500):
                at = {"at": time.time()}
                count = min(500, each - first)
                await client.enqueue_actions(
                    [
                        DomainAction(action_type="nap.short", tenant_id=name, tenant_tier=tier, data=at)
                        for _ in range(count)
                    ]
                )
        await client.close()


@contextmanager
def role(*arguments: object) -> Iterator[Role]:
    """A role in a process of its own, ready to go."""
    with processes.role([sys.executable, "-m", "benchmarks.noisy", *arguments]) as started:
        started.line()
        yield started


def _send(url: str, *arguments: object) -> None:
    with role("send", url, *arguments) as sender:
        sender.go()
        sender.row()


def drain(url: str, *, others: bool) -> tuple[float, list[float]]:
    """Seconds to drain it all, and the waits of the 50 tenants in ms."""
    flush(url)
    _send(url, "a", "t", 1, BACKLOG if others else BACKLOG + TENANTS * EACH)
    with (
        role("work", url, BACKLOG + TENANTS * EACH) as worker,
        role("send", url, "b", "t", TENANTS, EACH) as sender,
    ):
        worker.go()
        if others:
            sender.go()
            sender.row()
        result = worker.row()
    waits = [(began - at) * 1000 for tenant, at, began in result["starts"] if tenant.startswith("b")]
    return result["drain_s"], sorted(waits)


def lateness(url: str) -> list[float]:
    """By how many ms a tenant of 2 per second started later than its limit allowed."""
    flush(url)
    _send(url, "c", "limited", LIMITED, LIMITED_EACH)
    with role("work", url, LIMITED * LIMITED_EACH) as worker:
        worker.go()
        starts = worker.row()["starts"]
    late = []
    for number in range(LIMITED):
        mine = sorted(began for tenant, _, began in starts if tenant == f"c{number}")
        late += [(later - earlier - _WINDOW_S) * 1000 for earlier, later in zip(mine, mine[2:], strict=False)]
    return sorted(late)


def _turns_ms(drain_s: float) -> float:
    """How long the fifty's actions and as many turns of the noisy one take at the speed of this drain."""
    return 1000 * drain_s * (TENANTS + 1) * EACH / (BACKLOG + TENANTS * EACH)


def measure(url: str) -> dict[str, dict[str, float]]:
    """One round."""
    alone_s, _ = drain(url, others=False)
    drain_s, waits = drain(url, others=True)
    late = lateness(url)
    return {
        "ours, as installed": {
            "wait_p50_ms": waits[len(waits) // 2],
            "wait_p99_ms": waits[int(len(waits) * 0.99)],
            "wait_p99_vs_turns": waits[int(len(waits) * 0.99)] / _turns_ms(drain_s),
            "drain_s": drain_s,
            "one_tenant_drain_s": alone_s,
            "vs_one_tenant": drain_s / alone_s,
            "late_p50_ms": late[len(late) // 2],
            "late_p99_ms": late[int(len(late) * 0.99)],
        }
    }


if __name__ == "__main__":
    name, address, *rest = sys.argv[1:]
    listening = obey()
    if name == "work":
        say(run(work(listening, address, int(rest[0]))))
    run(send(listening, address, rest[0], rest[1], int(rest[2]), int(rest[3])))
    say({})
