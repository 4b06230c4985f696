"""A handler with a limit of its own: the others' slots are not blocked, nothing is lost or spent."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from redis.asyncio import Redis

from nooble_tasks import (
    NO_RETRY,
    ActionCancelled,
    ActionExpired,
    ActionTimeout,
    BaseRedisClient,
    BaseService,
    ConfigurationError,
    handles,
)
from nooble_tasks import anteroom as anteroom_module
from nooble_tasks._engine import State
from tests.conftest import ExpectCleanKeys
from tests.nooble_tasks.support import ProbeService, action, settings_for, soon, until, working


class NarrowService(ProbeService):
    @handles("probe.narrow", concurrency=2)
    async def narrow(self, data: Any) -> Any:
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        self.started.put_nowait(action("narrow", data))
        try:
            await self.gate.wait()
        finally:
            self.running -= 1
        return data


async def test_a_full_handler_leaves_the_slots_to_the_others(
    redis: Redis, client: BaseRedisClient, expect_clean_keys: ExpectCleanKeys
) -> None:
    expect_clean_keys()
    service = NarrowService()
    async with working(redis, service, concurrency=5, grace_s=10) as worker:
        narrow = [await client.enqueue_action(action("narrow", n)) for n in range(5)]
        for _ in range(2):
            await service.next_started()
        assert (await client.request(action("echo", "through"), 10)).data == "through"
        assert worker.running == 2
        assert worker.waiting == 3
        service.gate.set()
        assert [await each.result(10) for each in narrow] == [0, 1, 2, 3, 4]
    assert service.most_running == 2


async def test_a_long_backlog_is_put_off_without_spending_attempts(
    redis: Redis, client: BaseRedisClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(anteroom_module, "_SHORTEST_S", 0.05)
    service = NarrowService()
    async with working(redis, service, concurrency=4, grace_s=10) as worker:
        narrow = await client.enqueue_actions([action("narrow", n) for n in range(30)])
        for _ in range(2):
            await service.next_started()
        assert (await client.request(action("echo", "through"), 10)).data == "through"
        assert worker.waiting <= 4
        service.gate.set()
        answers = [await each.response(10) for each in narrow]
    assert [each.data for each in answers] == list(range(30))
    assert {each.attempt for each in answers} == {1}
    assert service.most_running == 2


async def test_what_waits_can_be_cancelled_and_expires_and_is_given_back(
    redis: Redis, client: BaseRedisClient
) -> None:
    service = NarrowService()
    async with working(redis, service, concurrency=5) as worker:
        sent = [await client.enqueue_action(action("narrow", n)) for n in range(2)]
        for _ in sent:
            await service.next_started()
        cancelled = await client.enqueue_action(action("narrow", "cancelled"))
        expiring = await client.enqueue_action(action("narrow", "expires"), deadline=0.5)
        left = await client.enqueue_action(action("narrow", "left"))
        await until(lambda: asyncio.sleep(0, worker.waiting == 3))
        await cancelled.cancel()
        with pytest.raises(ActionCancelled):
            await cancelled.result(10)
        now_ms = client.bus.clock.now_ms

        async def passed() -> bool:
            await redis.ping()
            return now_ms() > expiring.action.deadline.timestamp() * 1000 + 1  # type: ignore[union-attr]

        await until(passed)
        service.gate.set()
        with pytest.raises(ActionExpired):
            await expiring.result(10)
        assert await left.result(10) == "left"
        service.gate.clear()
        rest = [await client.enqueue_action(action("narrow", n)) for n in range(4)]
        await until(lambda: asyncio.sleep(0, worker.waiting == 2))
    assert [await each.status() for each in rest] == [State.READY] * 4


async def test_more_plain_handlers_than_threads_wait_outside_of_the_slots(
    redis: Redis, client: BaseRedisClient
) -> None:
    go_on = threading.Event()
    ended: list[int] = []

    class Plain(ProbeService):
        @handles("probe.plain")
        def plain(self, data: int) -> int:
            go_on.wait(20)
            ended.append(data)
            return data

    service = Plain()
    service.app_settings = service.app_settings.replace(handler_threads=1)
    async with working(redis, service, concurrency=4, grace_s=10) as worker:
        plain = [await client.enqueue_action(action("plain", n)) for n in range(3)]
        await until(lambda: asyncio.sleep(0, worker.waiting == 2))
        assert (await client.request(action("echo", 1), 10)).data == 1
        go_on.set()
        assert [await each.result(10) for each in plain] == [0, 1, 2]
        assert service.pools.threads.admitted == 0
    assert ended == [0, 1, 2]


async def test_a_lost_lease_forgets_what_waits(redis: Redis, client: BaseRedisClient) -> None:
    await client.close()
    service, settings = NarrowService(), settings_for(lease_s=1)
    async with working(redis, service, concurrency=5, settings=settings, maintain=False) as worker:
        sent = [await worker.redis_client.enqueue_action(action("narrow", n)) for n in range(4)]
        await until(lambda: asyncio.sleep(0, worker.waiting == 2))
        engine = worker.bus.engine
        assert (await engine.reclaim("probe", worker_id=worker.worker_id)).actions == 4
        service.gate.set()
        assert [await soon(each.result(10)) for each in sent] == [0, 1, 2, 3]
        await worker.redis_client.close()
    assert worker.waiting == 0


@pytest.mark.parametrize("concurrency", [0, -1, 1.5, True])
def test_a_concurrency_must_be_a_positive_number(concurrency: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"concurrency of shop\.x"):
        handles("shop.x", concurrency=concurrency)


def test_options_tell_the_concurrency() -> None:
    class Shop(BaseService):
        @handles("shop.x", concurrency=3)
        async def x(self) -> None: ...

    assert Shop.options_of("shop.x").concurrency == 3


async def test_a_thread_that_comes_back_starts_nothing_beside_a_full_worker(
    redis: Redis, client: BaseRedisClient
) -> None:
    """Its attempt is long over, and its slot has been taken meanwhile."""
    go_on = threading.Event()

    class Plain(ProbeService):
        @handles("probe.plain", timeout=0.2, retry=NO_RETRY)
        def plain(self, data: str) -> str:
            if data == "stuck":
                go_on.wait(20)
            else:
                self.running += 1
                self.most_running = max(self.most_running, self.running)
                self.running -= 1
            return data

    service = Plain()
    service.app_settings = service.app_settings.replace(handler_threads=1)
    async with working(redis, service, settings=service.app_settings, concurrency=1, grace_s=10) as worker:
        stuck = await client.enqueue_action(action("plain", "stuck"))
        with pytest.raises(ActionTimeout):
            await stuck.result(10)
        second = await client.enqueue_action(action("plain", "second"))
        await until(lambda: asyncio.sleep(0, worker.waiting == 1))
        alone = await client.enqueue_action(action("wait", "alone"))
        await service.next_started()
        go_on.set()
        await until(lambda: asyncio.sleep(0, worker._pools.threads.lingering == 0))
        assert worker.running == 1
        service.gate.set()
        assert [await each.result(10) for each in (alone, second)] == ["alone", "second"]
    assert service.most_running == 1


class Blocking(BaseService):
    """Plain functions alone: no more of them run at once than there are threads."""

    def __init__(self) -> None:
        super().__init__(app_settings=settings_for(handler_threads=2))
        self.running = threading.Semaphore(0)
        self.go_on = threading.Event()

    @handles("probe.block")
    def block(self, data: int) -> int:
        self.running.release()
        self.go_on.wait(20)
        return data


async def test_what_a_worker_cannot_run_is_left_to_others(redis: Redis, client: BaseRedisClient) -> None:
    one, other = Blocking(), Blocking()
    async with (
        working(redis, one, concurrency=20, grace_s=10) as worker,
        working(redis, other, concurrency=20, grace_s=10),
    ):
        sent = await client.enqueue_actions([action("block", n) for n in range(4)])
        try:
            for service in (one, other):
                for _ in range(2):
                    assert await asyncio.to_thread(service.running.acquire, timeout=5)
        finally:
            one.go_on.set()
            other.go_on.set()
        assert [await each.result(10) for each in sent] == [0, 1, 2, 3]
        assert worker.concurrency == 2
