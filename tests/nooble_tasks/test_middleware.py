"""Code around every enqueue and every attempt."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from nooble_tasks import (
    BaseRedisClient,
    BaseService,
    ClientMiddleware,
    DomainAction,
    InvalidAction,
    QueueUnavailable,
    Retry,
    WorkerMiddleware,
    current_context,
    handles,
)
from nooble_tasks._engine import Engine
from tests.nooble_tasks.support import AT_ONCE, ProbeService, action, settings_for, working

Next = Callable[[DomainAction], Awaitable[Any]]


class Noting(ClientMiddleware):
    def __init__(self, name: str, said: list[Any]) -> None:
        self.name = name
        self.said = said

    async def before_enqueue(self, action: DomainAction) -> DomainAction:
        self.said.append(f"before {self.name}")
        return action.model_copy(update={"metadata": {**action.metadata, self.name: len(self.said)}})

    async def after_enqueue(self, action: DomainAction, error: Exception | None) -> None:
        self.said.append(f"after {self.name}" if error is None else (self.name, type(error).__name__))


async def test_clients_middleware_is_ordered_and_may_change_the_action(
    redis: Redis, probe: ProbeService
) -> None:
    said: list[Any] = []

    class Client(BaseRedisClient):
        middleware = (Noting("a", said), Noting("b", said))

    client = Client("tester", redis, settings_for())
    async with working(redis, probe):
        await client.request(action("echo", 1), 10)
        assert said == ["before a", "before b", "after b", "after a"]
        assert probe.calls[0].metadata == {"a": 1, "b": 2}
        del said[:]
        handles_ = await client.enqueue_actions([action("echo", 1), action("echo", 2)])
        assert said == ["before a", "before b"] * 2 + ["after b"] * 2 + ["after a"] * 2
        for each in handles_:
            await each.result(10)
    await client.close()


async def test_clients_middleware_may_refuse_and_learns_what_failed(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[Any] = []

    class Refusing(ClientMiddleware):
        async def before_enqueue(self, action: DomainAction) -> DomainAction:
            if action.data == "secret":
                raise InvalidAction("secrets do not travel")
            return action

    class Client(BaseRedisClient):
        middleware = (Noting("a", said), Refusing())

    client = Client("tester", redis, settings_for())
    with pytest.raises(InvalidAction, match="secrets"):
        await client.enqueue_action(action("echo", "secret"))
    assert await redis.exists("probe:acme:enterprise") == 0

    async def broken(*_: Any) -> None:
        raise RedisConnectionError("gone")

    monkeypatch.setattr(Engine, "enqueue", broken)
    with pytest.raises(QueueUnavailable):
        await client.enqueue_action(action("echo"))
    assert said[-1] == ("a", "QueueUnavailable")
    await client.close()


def wrapping(name: str, said: list[Any]) -> WorkerMiddleware:
    async def middleware(action: DomainAction, call_next: Next) -> Any:
        context = current_context()
        assert context is not None
        said.append((name, context.attempt))
        result = await call_next(action)
        said.append((name, result))
        return [name, result]

    return middleware


async def test_workers_middleware_surrounds_every_attempt(redis: Redis, client: BaseRedisClient) -> None:
    said: list[Any] = []

    class Service(BaseService):
        retry_policy = AT_ONCE
        middleware = (wrapping("inner", said),)

        @handles("probe.twice")
        async def twice(self) -> str:
            context = current_context()
            if context is None or context.attempt == 1:
                raise Retry(0)
            return "done"

    service = Service(app_settings=settings_for())
    async with working(redis, service, middleware=[wrapping("outer", said)]):
        answer = await client.request(action("twice"), 10)
    assert answer.data == ["outer", ["inner", "done"]]
    assert said == [
        *(("outer", 1), ("inner", 1), ("outer", 2), ("inner", 2)),
        *(("inner", "done"), ("outer", ["inner", "done"])),
    ]


async def test_workers_middleware_may_answer_or_refuse_itself(redis: Redis, client: BaseRedisClient) -> None:
    async def cached(action: DomainAction, call_next: Next) -> Any:
        return "cached" if action.data == "known" else await call_next(action)

    async with working(redis, ProbeService(), middleware=[cached]):
        assert (await client.request(action("echo", "known"), 10)).data == "cached"
        assert (await client.request(action("echo", "new"), 10)).data == "new"


async def test_the_documented_examples(
    redis: Redis, client: BaseRedisClient, caplog: pytest.LogCaptureFixture
) -> None:
    """docs/workers.md"""
    log = logging.getLogger("shop")

    async def logged(action: DomainAction, call_next: Next) -> Any:
        log.info("%s of %s begins", action.action_type, action.tenant_id)
        try:
            return await call_next(action)
        finally:
            log.info("%s of %s has ended", action.action_type, action.tenant_id)

    with caplog.at_level(logging.INFO, "shop"):
        async with working(redis, ProbeService(), middleware=[logged]):
            await client.request(action("echo", 1), 10)
    assert "probe.echo of acme has ended" in caplog.text
