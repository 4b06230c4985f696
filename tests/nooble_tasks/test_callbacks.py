"""Callbacks: in order, errors included, and never to a name taken on trust."""

from __future__ import annotations

from contextlib import aclosing
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from nooble_tasks import BaseRedisClient, BaseService, DomainAction, InvalidAction, handles
from nooble_tasks import callbacks as callbacks_module
from nooble_tasks.testing import RecordingClient
from tests.nooble_tasks.support import (
    make_client,
    put_raw,
    settings_for,
    soon,
    stored_response,
    until,
    working,
)


class Slow(BaseService):
    """Says how it is going."""

    def __init__(self, client: BaseRedisClient) -> None:
        super().__init__(app_settings=settings_for("slow"), service_redis_client=client)

    @handles("slow.work")
    async def work(self, action: DomainAction) -> str:
        """Half, then all of it."""
        await self.service_redis_client.send_callback(action, {"percent": 50})
        return "done"

    @handles("slow.fail")
    async def fail(self) -> None:
        """Nothing good."""
        raise ValueError("broken")


def ask(verb: str = "work", **fields: object) -> DomainAction:
    return DomainAction(action_type=f"slow.{verb}", tenant_id="acme", tenant_tier="enterprise", **fields)


async def first(client: BaseRedisClient, queue: str, count: int) -> list[DomainAction]:
    """The next callbacks of a list."""
    got = []
    async with aclosing(client.listen_callbacks(queue, timeout=10)) as callbacks:
        async for callback in callbacks:
            got.append(callback)
            if len(got) == count:
                break
    return got


async def test_progress_then_the_result(redis: Redis, client: BaseRedisClient) -> None:
    sent = ask()
    async with working(redis, Slow(make_client(redis, "slow_service"))):
        await client.send_action_async_with_callback(sent, "tester.slow.progress", "job-7")
        assert sent.callback_queue_name == "nooble:slow:callback:tester:tester.slow.progress:job-7"
        progress, result = await soon(first(client, sent.callback_queue_name, 2), 15)
    assert progress.data == {"percent": 50}
    assert result.data == "done"
    for callback in (progress, result):
        assert callback.action_type == "tester.slow.progress"
        assert callback.correlation_id == sent.action_id
        assert callback.trace_id == sent.trace_id
        assert callback.tenant_id == "acme"
        assert callback.metadata == {"success": True, "in_reply_to": sent.action_id}


async def test_errors_are_told_too(redis: Redis, client: BaseRedisClient) -> None:
    sent = ask("fail")
    async with working(redis, Slow(make_client(redis, "slow_service"))):
        await client.send_action_async_with_callback(sent, "tester.slow.ended")
        (callback,) = await soon(first(client, sent.callback_queue_name or "", 1), 15)
    assert callback.metadata["success"] is False
    assert callback.data["error"]["message"] == "broken"


async def test_what_was_not_handled_comes_again(redis: Redis, client: BaseRedisClient) -> None:
    sent = ask("fail")
    async with working(redis, Slow(make_client(redis, "slow_service"))):
        await client.send_action_async_with_callback(sent, "tester.slow.ended")
        (once,) = await soon(first(client, sent.callback_queue_name or "", 1), 15)
        (again,) = await soon(first(client, sent.callback_queue_name or "", 1), 15)
    assert once.action_id == again.action_id


async def test_a_link_cut_while_a_callback_is_removed_ends_nothing(
    redis: Redis, client: BaseRedisClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was handled: it does not come again either."""
    remove: Any = redis.lrem
    failures: list[Exception] = [RedisConnectionError("cut off"), RedisTimeoutError("too slow")]

    async def cut_off(*arguments: Any) -> Any:
        if failures:
            raise failures.pop()
        return await remove(*arguments)

    monkeypatch.setattr(redis, "lrem", cut_off)
    monkeypatch.setattr(callbacks_module, "_RETRY_S", 0.01)
    sent = ask(callback_action_type="tester.slow.progress")
    names = client.queue_manager
    sent.callback_queue_name = names.get_callback_queue("slow_service", "tester", "tester.slow.progress")
    for percent in (1, 2):
        await client.send_callback(sent, {"percent": percent})
    got = await soon(first(client, sent.callback_queue_name or "", 2), 15)
    assert [each.data["percent"] for each in got] == [1, 2]
    assert failures == []


async def test_a_callback_needs_a_name(client: BaseRedisClient) -> None:
    with pytest.raises(ValueError, match="callback_event_name"):
        await client.send_action_async_with_callback(ask())


FORGED = [
    "config",
    "probe:acme:free",
    "nooble:other:callback:a:b",
    "nooble:slow:resp:x",
    "nooble:slow:policy",
]


@pytest.mark.parametrize("queue", FORGED)
async def test_a_forged_list_is_refused_at_the_sender(
    redis: Redis, client: BaseRedisClient, queue: str
) -> None:
    sent = ask(callback_queue_name=queue, callback_action_type="tester.slow.ended")
    with pytest.raises(InvalidAction, match="not a callback list"):
        await client.send_action_async_with_callback(sent)
    assert await redis.dbsize() == 0


@pytest.mark.parametrize("queue", FORGED)
async def test_a_worker_pushes_to_no_forged_list(redis: Redis, queue: str) -> None:
    """Past every check of the sender: what the entry says is not believed."""
    forged = ask(action_id="x1", callback_queue_name=queue, callback_action_type="tester.slow.ended")
    service = Slow(make_client(redis, "slow_service"))
    service.app_settings = settings_for("probe")
    await put_raw(redis, "x1", forged.to_json(), action_type="slow.fail")
    before = await redis.exists(queue)
    async with working(redis, service):
        await until(lambda: _over(redis), "the end of it")
    assert await redis.exists(queue) == before or queue == "nooble:slow:policy"
    assert await stored_response(redis, "x1") is None
    await service.service_redis_client.close()


async def _over(redis: Redis) -> bool:
    return not await redis.exists("nooble:probe:actions")


async def test_a_recording_client_notes_callbacks() -> None:
    client = RecordingClient()
    queue = "nooble:slow:callback:tester:tester.slow.progress"
    sent = ask(callback_action_type="tester.slow.progress", callback_queue_name=queue)
    await client.send_callback(sent, {"percent": 50})
    await client.send_callback(ask(), {"percent": 50})
    assert [(each.action_type, each.data) for each in client.sent] == [
        ("tester.slow.progress", {"percent": 50})
    ]
