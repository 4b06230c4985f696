"""The heartbeat: keeps leases from a thread, tells what it learns."""

from __future__ import annotations

import asyncio
import queue
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from redis.asyncio import Redis

from nooble_tasks import Bus
from nooble_tasks._engine import NewAction
from nooble_tasks.heartbeat import Heartbeat
from tests.nooble_tasks.support import DOMAIN, KEYS, settings_for, until

WORKERS = KEYS.of("workers", DOMAIN)


@pytest.fixture
def bus(redis: Redis) -> Bus:
    return Bus.of(redis, settings_for(lease_s=1))


@pytest.fixture
def told() -> queue.Queue[Any]:
    return queue.Queue()


@pytest.fixture
def beat(bus: Bus, told: queue.Queue[Any]) -> Iterator[Callable[..., Heartbeat]]:
    started: list[Heartbeat] = []

    def start(owns_something: bool = True) -> Heartbeat:
        heartbeat = Heartbeat(
            bus.engine,
            "w1",
            [DOMAIN],
            owns_something=lambda: owns_something,
            on_lost=told.put,
            on_cancel=lambda domain, action_id: told.put((domain, action_id)),
            on_aside=lambda domain: told.put(("aside", domain)),
        )
        heartbeat.start()
        started.append(heartbeat)
        return heartbeat

    yield start
    for heartbeat in started:
        heartbeat.stop()


@pytest.mark.parametrize("owns_something", [True, False])
async def test_a_lease_outlives_a_blocked_loop(
    bus: Bus, beat: Callable[..., Heartbeat], redis: Redis, owns_something: bool
) -> None:
    await redis.script_flush()
    await bus.engine.extend(DOMAIN, "w1", register=True)
    beat(owns_something)
    time.sleep(1.3)  # noqa: ASYNC251 - a loop that is blocked for longer than a lease
    assert (await bus.engine.reclaim(DOMAIN)).workers == 0
    assert (await bus.engine.extend(DOMAIN, "w1")).held


async def test_a_lost_lease_is_told(bus: Bus, beat: Callable[..., Heartbeat], told: queue.Queue[Any]) -> None:
    beat()
    assert told.get(timeout=5) == DOMAIN


async def test_a_cancellation_is_told(
    bus: Bus, beat: Callable[..., Heartbeat], told: queue.Queue[Any]
) -> None:
    engine = bus.engine
    await engine.extend(DOMAIN, "w1", register=True)
    await engine.enqueue(DOMAIN, [NewAction("x1", "probe.x", "acme", "enterprise", b"{}")])
    assert len((await engine.claim(DOMAIN, "w1", 1)).actions) == 1
    assert await engine.cancel(DOMAIN, [("x1", b"")]) == ["running"]
    beat()
    assert told.get(timeout=5) == (DOMAIN, "x1")


async def test_a_killed_connection_costs_no_lease(
    bus: Bus, beat: Callable[..., Heartbeat], redis: Redis, told: queue.Queue[Any]
) -> None:
    await bus.engine.extend(DOMAIN, "w1", register=True)
    first = await redis.zscore(WORKERS, "w1")
    before = {each["id"] for each in await redis.client_list()}
    beat()

    async def new_connection() -> list[str]:
        return [each["id"] for each in await redis.client_list() if each["id"] not in before]

    (own,) = await until(new_connection)
    await redis.client_kill_filter(_id=own)
    killed_at = await redis.zscore(WORKERS, "w1")

    async def extended() -> bool:
        return (await redis.zscore(WORKERS, "w1")) > max(first, killed_at)

    await until(extended)
    assert told.empty()


async def test_an_error_that_nobody_foresaw_costs_no_lease(
    bus: Bus, redis: Redis, told: queue.Queue[Any], caplog: pytest.LogCaptureFixture
) -> None:
    """It runs in a thread: what it asks about may change while it looks."""
    asked = 0

    def owns_something() -> bool:
        nonlocal asked
        asked += 1
        if asked == 1:
            raise RuntimeError("deque mutated during iteration")
        return True

    await bus.engine.extend(DOMAIN, "w1", register=True)
    first = await redis.zscore(WORKERS, "w1")
    heartbeat = Heartbeat(
        bus.engine, "w1", [DOMAIN],
        owns_something=owns_something, on_lost=told.put, on_cancel=lambda domain, action_id: None,
        on_aside=told.put,
    )  # fmt: skip
    heartbeat.start()

    async def extended() -> bool:
        return (await redis.zscore(WORKERS, "w1")) > first

    try:
        await until(extended)
    finally:
        heartbeat.stop()
    assert "deque mutated" in caplog.text


async def test_who_steps_aside_is_not_woken_and_then_looks_again(
    bus: Bus, beat: Callable[..., Heartbeat], redis: Any, told: queue.Queue[Any]
) -> None:
    """What it may have been woken for goes to another; it is told after that, when it is among the sleepers
    no more."""
    await bus.engine.extend(DOMAIN, "w1", register=True)
    await redis.zadd("nooble:probe:sleepers", {"w1": 2, "w2": 1})
    beat().step_aside()
    assert await asyncio.to_thread(told.get, timeout=5) == ("aside", DOMAIN)
    assert await redis.zrange("nooble:probe:sleepers", 0, -1) == []
    assert await redis.lrange("nooble:probe:mailbox:w2", 0, -1) == [b"wake"]
    assert not await redis.exists("nooble:probe:mailbox:w1")


async def test_it_is_stopped_at_once_also_between_two_beats(redis: Redis, told: queue.Queue[Any]) -> None:
    """The stop that comes while it clears an earlier call is not cleared with that."""
    engine = Bus.of(redis, settings_for(lease_s=60)).engine
    await engine.extend(DOMAIN, "w1", register=True)
    heartbeat = Heartbeat(
        engine, "w1", [DOMAIN],
        owns_something=lambda: True, on_lost=told.put, on_cancel=lambda *_: None, on_aside=told.put,
    )  # fmt: skip
    clear = heartbeat._called.clear

    def stopped_meanwhile() -> None:
        heartbeat._stopping = True
        heartbeat._called.set()
        clear()

    heartbeat._called.clear = stopped_meanwhile  # type: ignore[method-assign]
    heartbeat.start()
    running = heartbeat._thread
    assert running is not None
    heartbeat.step_aside()
    await asyncio.to_thread(running.join, 5)
    assert not running.is_alive()
