"""A published policy is live: no restart, the next starts obey."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.asyncio import Redis

from nooble_tasks import NO_RETRY, BaseRedisClient, Bus, PolicyStore, UnknownTier
from nooble_tasks import bus as bus_module
from nooble_tasks._engine import Claimed
from nooble_tasks.worker import BaseWorker
from tests.nooble_tasks.support import (
    DOMAIN,
    ProbeService,
    action,
    connect,
    make_client,
    settings_for,
    until,
    working,
)

BEFORE = 'default_tier = "enterprise"\n[tiers.enterprise]\npriority = 1\ntimeout = 300\n'
AFTER = BEFORE.replace("300", "77") + "max_concurrency = 3\n"


class OnceService(ProbeService):
    retry_policy = NO_RETRY


@pytest.fixture
async def client(redis: Redis) -> AsyncIterator[BaseRedisClient]:
    client = make_client(redis)
    yield client
    await client.close()


async def published(redis: Any, text: str) -> PolicyStore:
    store = Bus(redis, settings_for()).policies
    await store.publish(text, by="ana", why="a test")
    return store


def time_allowed(worker: BaseWorker) -> float:
    """What an attempt of the tier `enterprise` may take, as the worker knows it."""
    return worker._lines[DOMAIN].executor.limit_s(
        Claimed("x", "probe.x", "a", "enterprise", b"", 1, 1, 0, 0, 0, "", "", False)
    )


async def test_two_workers_obey_a_policy_from_their_next_start(
    redis: Redis, redis_url: str, client: BaseRedisClient
) -> None:
    """Concurrency of a tenant falls to 3 and the timeout to 77 s, while both are at work."""
    await published(redis, BEFORE)
    services = [ProbeService(), ProbeService()]
    connections = [connect(redis_url), connect(redis_url)]
    async with (
        working(connections[0], services[0], concurrency=10) as first,
        working(connections[1], services[1], concurrency=10) as second,
    ):
        assert [time_allowed(worker) for worker in (first, second)] == [300, 300]
        await published(redis, AFTER)
        await client.enqueue_actions([action("wait", n) for n in range(20)])

        async def running() -> int:
            return first.running + second.running

        await until(running, "something runs")
        for service in services:
            service.gate.set()

        async def done() -> bool:
            return sum(len(service.calls) for service in services) == 20 and not await running()

        await until(done, "all have run")
        assert sum(service.most_running for service in services) <= 3
        known = {time_allowed(worker) for worker in (first, second) if worker.service.calls}  # type: ignore[attr-defined]
        assert known == {77}
    for connection in connections:
        await connection.aclose()


async def test_what_is_claimed_under_a_policy_runs_under_it(redis: Redis, client: BaseRedisClient) -> None:
    """Not even the first start after a publish still has the old timeout."""
    await published(redis, BEFORE)
    async with working(redis, OnceService()) as worker:
        store = await published(redis, BEFORE.replace("300", "0.05"))
        handle = await client.enqueue_action(action("wait"))
        response = await handle.response(10)
        assert response.error is not None
        assert "ran longer than its 0.05 s" in response.error.message
        assert time_allowed(worker) == 0.05
        await store.rollback(1, by="ana")
        await client.request(action("echo"))
        assert time_allowed(worker) == 300


async def test_redis_fails_while_the_new_policy_is_loaded(
    redis: Redis, client: BaseRedisClient, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    """Then it starts with what it knows, and asks again at the next claim."""
    await published(redis, BEFORE)
    async with working(redis, ProbeService()) as worker:
        with monkeypatch.context() as patch:

            async def fails() -> bool:
                raise ConnectionError("gone")

            patch.setattr(worker.bus.policies, "catch_up", fails)
            await published(redis, AFTER)
            await client.request(action("echo"))
            assert "loading version 2 of the policy: gone" in caplog.text
            assert time_allowed(worker) == 300
        await client.request(action("echo"))
        assert time_allowed(worker) == 77


async def test_a_first_worker_publishes_what_it_was_started_with(redis: Redis) -> None:
    async with working(redis, ProbeService()) as worker:
        [first] = await worker.bus.policies.history()
        assert (first.version, first.why) == (1, "first start")
        assert first.by == f"worker {worker.worker_id.rsplit('.', 1)[0]}"
        assert worker.bus.policy.names() == ["enterprise", "professional", "advance", "free"]


GOLD = "[tiers.gold]\npriority = 2\n"


async def test_a_client_learns_of_a_new_tier_before_it_refuses_it(
    redis: Redis, client: BaseRedisClient
) -> None:
    await published(redis, BEFORE)
    await client.enqueue_action(action("echo"))
    with pytest.raises(UnknownTier, match="'gold'"):
        await client.enqueue_action(action("echo", tenant_tier="gold"))
    await published(redis, BEFORE + GOLD)
    assert (await client.enqueue_action(action("echo", tenant_tier="gold"))).tier == "gold"


async def test_a_client_forgets_a_tier_within_a_second(
    redis: Redis, client: BaseRedisClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    await published(redis, BEFORE + GOLD)
    await client.enqueue_action(action("echo"))
    await published(redis, BEFORE)
    with monkeypatch.context() as patch:
        later = time.monotonic() + bus_module.POLICY_AGE_S
        patch.setattr("nooble_tasks.bus.time.monotonic", lambda: later)
        with pytest.raises(UnknownTier, match="'gold'"):
            await client.enqueue_action(action("echo", tenant_tier="gold"))


async def test_a_busy_client_asks_once_a_second(
    redis: Redis, client: BaseRedisClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    policies = client.bus.policies
    inner = policies.catch_up

    async def counted() -> bool:
        asked.append(1)
        return await inner()

    monkeypatch.setattr(policies, "catch_up", counted)
    now = time.monotonic()
    for moment in (now, now, now + 0.999, now + 1.0, now + 1.5):
        with monkeypatch.context() as patch:
            patch.setattr("nooble_tasks.bus.time.monotonic", lambda moment=moment: moment)
            await client.enqueue_action(action("echo"))
    assert len(asked) == 2


async def test_without_an_answer_of_redis_a_client_goes_on_with_what_it_knows(
    redis: Redis, client: BaseRedisClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hangs() -> bool:
        await asyncio.Event().wait()
        return True

    monkeypatch.setattr(bus_module, "POLICY_AGE_S", 0.01)
    monkeypatch.setattr(client.bus.policies, "catch_up", hangs)
    assert (await client.enqueue_action(action("echo"))).accepted
