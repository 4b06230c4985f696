"""Actions through real worker processes, while workers are killed, stopped and fed with garbage."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from nooble_tasks import ActionHandle, BaseRedisClient, CommonAppSettings, DomainAction, RedisManager
from nooble_tasks._engine import inspection
from nooble_tasks.embedded import EmbeddedServer
from tests.e2e.processes import Running, running, until, wait_until
from tests.e2e.shop import GATE, RUNS
from tests.nooble_tasks.redis_servers import server

TARGET = "tests.e2e.shop:ShopService"
SETTINGS = {"NOOBLE_DOMAIN_NAME": "shop", "NOOBLE_LEASE_S": "2", "NOOBLE_LOG_FORMAT": "text"}


class Shop:
    """A client, and workers that end with the test."""

    def __init__(self, client: BaseRedisClient, url: str, folder: Path) -> None:
        self.client = client
        self.engine = client.bus.engine
        self._url = url
        self._folder = folder
        self._stack = contextlib.ExitStack()
        self._started = 0

    async def worker(self, *arguments: str, may_die: bool = False, **settings: str) -> Running:
        """A worker process that has registered; ``may_die``: and may be dead before anybody sees that."""
        self._started += 1
        log = self._folder / f"worker-{self._started}.log"
        environment = {**SETTINGS, "NOOBLE_REDIS_URL": self._url, **settings}
        worker = self._stack.enter_context(running(log, "worker", TARGET, *arguments, settings=environment))

        async def registered() -> bool:
            dead = worker.process.poll() is not None
            assert may_die or not dead, worker.output
            known = await self.engine.redis.zrange(self.engine.keys.of("workers", "shop"), 0, -1)
            return dead or any(b"-%d." % worker.process.pid in name for name in known)

        await until(registered, "the worker registers")
        return worker

    async def place(self, many: int, **data: float) -> list[ActionHandle]:
        return await self.client.enqueue_actions(
            [
                DomainAction(
                    action_type="shop.order.place",
                    tenant_id=f"tenant-{number % 5}",
                    tenant_tier="enterprise",
                    data={"number": number, **data},
                )
                for number in range(many)
            ]
        )

    async def completed(self) -> int:
        return sum(row.completed for row in (await inspection.domain_counts(self.engine, "shop")).tiers)

    async def until_completed(self, many: int) -> None:
        async def enough() -> bool:
            return await self.completed() >= many

        await until(enough, f"{many} actions are completed")

    async def runs(self) -> list[dict[str, object]]:
        raw = await self.client.redis_client.lrange(RUNS, 0, -1)
        return [json.loads(line) for line in raw]

    async def responses_stored(self, handles: list[ActionHandle]) -> Counter[int]:
        """How many actions have how many responses."""
        pipeline = self.client.redis_client.pipeline(transaction=False)
        for handle in handles:
            pipeline.llen(self.client.bus.keys.response("shop", handle.action_id))
        return Counter(await pipeline.execute())

    def close(self) -> None:
        self._stack.close()


@contextlib.asynccontextmanager
async def opened(url: str, folder: Path) -> AsyncIterator[Shop]:
    settings = CommonAppSettings(service_name="customer_service", redis_url=url)
    async with RedisManager(settings) as manager:
        client = BaseRedisClient("customer_service", manager.get_client(), settings)
        await client.bus.ready()
        shop = Shop(client, url, folder)
        try:
            yield shop
        finally:
            shop.close()
            await client.close()


@pytest.fixture
async def shop(redis_url: str, tmp_path: Path) -> AsyncIterator[Shop]:
    async with opened(redis_url, tmp_path) as shop:
        yield shop


@pytest.mark.faults
async def test_a_killed_worker_loses_nothing_and_nothing_is_answered_twice(shop: Shop) -> None:
    many = 500
    victim = await shop.worker("--concurrency", "20")
    await shop.worker("--concurrency", "20")
    handles = await shop.place(many)
    await shop.until_completed(100)
    victim.send(signal.SIGKILL)
    responses = await asyncio.gather(*(handle.response(40) for handle in handles))
    assert [response.data["number"] for response in responses] == list(range(many))
    assert await shop.responses_stored(handles) == {1: many}
    assert await shop.completed() == many
    events, _ = await inspection.recent_events(shop.engine, "shop", "0-0", count=10_000)
    outcomes = Counter(e.action_id for e in events if isinstance(e, inspection.OutcomeEvent))
    assert outcomes == {handle.action_id: 1 for handle in handles}
    runs = Counter(str(run["id"]) for run in await shop.runs())
    assert runs.keys() == {handle.action_id for handle in handles}
    # What the victim had in its hands ran again, as a second attempt; nothing else did.
    again = {action_id for action_id, times in runs.items() if times > 1}
    assert again <= {str(run["id"]) for run in await shop.runs() if run["pid"] == victim.pid}
    assert len(again) <= 20


async def test_a_stopped_worker_drains_and_spends_no_attempt(shop: Shop) -> None:
    many = 300
    first = await shop.worker("--concurrency", "20")
    handles = await shop.place(many)
    await shop.until_completed(50)
    first.send(signal.SIGTERM)
    await asyncio.to_thread(first.wait)
    assert first.process.returncode == 0, first.output
    assert await shop.completed() < many, "it was to be stopped in the middle"
    await shop.worker("--concurrency", "20")
    responses = await asyncio.gather(*(handle.response(30) for handle in handles))
    assert {response.attempt for response in responses} == {1}
    assert await shop.responses_stored(handles) == {1: many}
    assert Counter(str(run["id"]) for run in await shop.runs()) == {h.action_id: 1 for h in handles}


async def test_what_outlasts_the_grace_is_given_back_unspent(shop: Shop, redis: Redis) -> None:
    first = await shop.worker(NOOBLE_DRAIN_TIMEOUT_S="0.1")
    handle = await shop.client.enqueue_action("shop.order.wait", tenant_id="acme", tier="enterprise")

    async def runs() -> bool:
        return bool(await shop.runs())

    await until(runs, "the action runs")
    first.send(signal.SIGTERM)
    assert await asyncio.to_thread(first.wait) == 0
    assert await handle.status() == "ready"
    await redis.set(GATE, 1)
    await shop.worker()
    assert await handle.result(20) == 1
    assert [run["attempt"] for run in await shop.runs()] == [1, 1]


async def test_garbage_of_others_goes_to_the_dead_letters(shop: Shop, redis: Redis) -> None:
    before = await shop.place(5)  # no worker yet: the streams exist and wait
    garbage: list[dict[Any, Any]] = [{"foo": "bar"}, {"head": "v9 what", "data": "{"}, {"data": "{}"}]
    for fields in garbage:
        await redis.xadd("shop:tenant-0:enterprise", fields)
    after = await shop.place(5)
    worker = await shop.worker()
    responses = await asyncio.gather(*(handle.response(20) for handle in [*before, *after]))
    assert all(response.success for response in responses)

    async def buried() -> bool:
        return int(await redis.xlen("nooble:shop:dead:tenant-0")) == 3

    await until(buried, "three dead letters")
    assert worker.process.poll() is None, worker.output
    assert await (await shop.place(1))[0].result(20)


@pytest.mark.faults
async def test_a_worker_ends_although_redis_is_gone(
    disposable_server: EmbeddedServer, tmp_path: Path
) -> None:
    async with opened(disposable_server.url, tmp_path) as shop:
        worker = await shop.worker(NOOBLE_DRAIN_TIMEOUT_S="0.5")
        await shop.place(3, takes_s=1.0)

        async def runs() -> bool:
            return len(await shop.runs()) == 3

        await until(runs, "the actions run")
        disposable_server.stop()
        worker.send(signal.SIGTERM)
        assert await asyncio.to_thread(worker.wait) == 0, worker.output
        assert "Traceback" not in worker.output


@pytest.mark.faults
@pytest.mark.parametrize("command", [("worker", TARGET), ("scheduler", "shop")], ids=["worker", "scheduler"])
def test_who_starts_before_the_server_waits_for_it(tmp_path: Path, command: tuple[str, ...]) -> None:
    """After an outage of a whole site nobody says who comes up first."""
    path = tmp_path / "redis.sock"
    settings = {**SETTINGS, "NOOBLE_REDIS_URL": f"unix://{path}"}
    with running(tmp_path / "1.log", *command, settings=settings) as early:
        wait_until(lambda: "again in 1" in early.output, "it asks again")
        with server("--unixsocket", str(path)):
            wait_until(lambda: "is ready" in early.output or "maintains" in early.output, "it works")
            early.send(signal.SIGTERM)
            assert early.wait() == 0, early.output
    assert "Traceback" not in early.output


@pytest.mark.faults
def test_who_waits_for_the_server_can_be_stopped(tmp_path: Path) -> None:
    settings = {**SETTINGS, "NOOBLE_REDIS_URL": "redis://127.0.0.1:1/0"}
    with running(tmp_path / "1.log", "worker", TARGET, settings=settings) as early:
        wait_until(lambda: "again in 1" in early.output, "it asks again")
        early.send(signal.SIGTERM)
        assert early.wait() == 0, early.output
    assert "is ready" not in early.output
    assert "Traceback" not in early.output


async def test_the_garbage_collector_leaves_alone_what_a_worker_has_loaded(shop: Shop) -> None:
    await shop.worker()
    handle = await shop.client.enqueue_action("shop.order.frozen", tenant_id="acme")
    assert (await handle.response(20)).data > 10_000
