"""The three patterns, and what `enqueue_action` promises."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from redis.asyncio import Redis

from nooble_tasks import (
    ActionCancelled,
    ActionExpired,
    ActionFailed,
    ActionTimeout,
    BaseRedisClient,
    BaseService,
    DomainAction,
    ExecutionContext,
    QueueUnavailable,
    State,
    current_context,
    handles,
)
from nooble_tasks.embedded import EmbeddedServer
from tests.nooble_tasks.support import (
    ProbeService,
    action,
    connect,
    make_client,
    settings_for,
    soon,
    until,
    working,
)


class Front(BaseService):
    """Asks the probe, as one service asks another."""

    def __init__(self, client: BaseRedisClient) -> None:
        super().__init__(app_settings=settings_for("front"), service_redis_client=client)
        self.seen: ExecutionContext | None = None

    @handles("front.ask")
    async def ask(self) -> object:
        """The answer of another service."""
        self.seen = current_context()
        nested = DomainAction(action_type="probe.echo", tenant_id="acme", data="nested")
        return (await self.service_redis_client.request(nested, 20)).data


async def test_fire_and_forget_stores_no_response(
    redis: Redis, client: BaseRedisClient, probe: ProbeService
) -> None:
    async with working(redis, probe):
        await client.send_action_async(action("wait", 1))
        sent = await soon(probe.next_started())
        probe.gate.set()
        await until(lambda: _idle(redis), "the end of it")
    assert sent.origin_service == "tester"
    assert not await redis.keys("nooble:probe:resp:*")


async def _idle(redis: Redis) -> bool:
    return not await redis.exists("nooble:probe:actions")


async def test_request_and_response(redis: Redis, client: BaseRedisClient, probe: ProbeService) -> None:
    async with working(redis, probe):
        sent = action(data={"n": 1})
        response = await soon(client.request(sent))
    assert response.success
    assert response.data == {"n": 1}
    assert (response.action_id, response.tenant_id) == (sent.action_id, "acme")
    assert response.correlation_id == sent.action_id
    (seen,) = probe.calls
    assert seen.callback_queue_name == f"nooble:probe:resp:{sent.action_id}"


async def test_pseudo_sync_returns_a_failure_and_none_for_silence(
    redis: Redis, client: BaseRedisClient, probe: ProbeService
) -> None:
    async with working(redis, probe):
        failed = await soon(client.send_action_pseudo_sync(action("fail")))
        assert failed is not None
        assert not failed.success
        assert failed.error["message"] == "no such thing"
        assert failed.error.type == "ValueError"
        with pytest.raises(ActionFailed, match="no such thing"):
            await soon(client.request(action("fail")))
    assert await client.send_action_pseudo_sync(action(), timeout=0.05) is None
    with pytest.raises(ActionTimeout, match="is a worker for 'probe' running"):
        await client.request(action(), timeout=0.05)


async def test_tenant_tier_trace_and_deadline_travel_to_nested_actions(
    redis: Redis, client: BaseRedisClient, probe: ProbeService
) -> None:
    front = Front(make_client(redis, "front_service"))
    async with working(redis, [front, probe]):
        sent = DomainAction(action_type="front.ask", tenant_id="acme", tenant_tier="professional")
        response = await soon(client.request(sent, timeout=9))
    assert response.data == "nested"
    assert front.seen is not None
    (nested,) = probe.calls
    assert nested.tenant_tier == front.seen.tier == "professional"
    assert nested.trace_id == sent.trace_id
    assert nested.deadline is not None
    assert nested.deadline <= datetime.now(UTC) + timedelta(seconds=9)


async def test_an_idempotency_key_is_one_action(
    redis: Redis, client: BaseRedisClient, probe: ProbeService
) -> None:
    async def put() -> object:
        return await client.enqueue_action(action(data=7), idempotency_key="order-1")

    first, second = await put(), await put()
    assert (first.accepted, second.accepted) == (True, False)  # type: ignore[attr-defined]
    assert first.action_id == second.action_id  # type: ignore[attr-defined]
    async with working(redis, probe):
        assert await first.result(10) == await second.result(10) == 7  # type: ignore[attr-defined]
    assert len(probe.calls) == 1


async def test_a_unique_key_is_one_action_alive(
    redis: Redis, client: BaseRedisClient, probe: ProbeService
) -> None:
    first = await client.enqueue_action(action(data=1), unique_key="report")
    second = await client.enqueue_action(action(data=2), unique_key="report")
    assert not second.accepted
    assert second.action_id == first.action_id
    async with working(redis, probe):
        assert await first.result(10) == 1
        third = await client.enqueue_action(action(data=3), unique_key="report")
        assert await third.result(10) == 3


async def test_many_at_once(redis: Redis, client: BaseRedisClient, probe: ProbeService) -> None:
    handles_ = await client.enqueue_actions([action(data=n) for n in range(1_200)])
    async with working(redis, probe):
        results = await soon(asyncio.gather(*(handle.result(20) for handle in handles_)), 25)
    assert results == list(range(1_200))


async def test_states_and_cancellation(redis: Redis, client: BaseRedisClient, probe: ProbeService) -> None:
    later = await client.enqueue_action(action("wait"), delay=3600)
    assert await later.status() is State.SCHEDULED
    waiting = await client.enqueue_action(action("wait"))
    assert await waiting.status() is State.READY
    assert await later.cancel()
    assert await later.status() is State.CANCELLED
    with pytest.raises(ActionCancelled):
        await later.result(1)
    async with working(redis, probe):
        await soon(probe.next_started())
        assert await waiting.status() is State.RUNNING
        assert await waiting.cancel()
        await soon(probe.interrupted.get())
        with pytest.raises(ActionCancelled):
            await waiting.result(10)
    assert await waiting.status() is State.CANCELLED
    assert not await waiting.cancel()


async def test_what_is_past_its_deadline_never_starts(
    redis: Redis, client: BaseRedisClient, probe: ProbeService
) -> None:
    late = await client.enqueue_action(action(), deadline=datetime.now(UTC) - timedelta(seconds=1))
    async with working(redis, probe):
        with pytest.raises(ActionExpired):
            await late.result(10)
    assert not probe.calls
    assert await late.status() is State.EXPIRED


async def test_a_server_that_is_gone(disposable_server: EmbeddedServer) -> None:
    redis = connect(disposable_server.url)
    client = make_client(redis)
    await client.send_action_async(action())
    disposable_server.stop()
    with pytest.raises(QueueUnavailable):
        await client.send_action_async(action())
    assert await client.send_action_pseudo_sync(action(), timeout=1) is None
    await client.close()
    await redis.aclose()
