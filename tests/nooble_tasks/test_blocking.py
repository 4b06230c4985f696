"""Pops that block: what comes first, what else is there, what a broken connection is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from typing import Any, cast

import pytest
import pytest_asyncio
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from nooble_tasks import blocking
from nooble_tasks.blocking import BlockingPops
from tests.nooble_tasks.support import until


@pytest_asyncio.fixture(params=["shared", "plain"])
async def pops(
    redis: Redis, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[BlockingPops]:
    """With hiredis and without."""
    if request.param == "plain":
        monkeypatch.setattr(blocking, "multiplexed", lambda client: client)
    made = BlockingPops(redis, 0.2)
    yield made
    await made.close()
    await made.close()  # a second time is no error


async def _push(redis: Redis, name: str, *elements: str) -> None:
    await cast("Awaitable[int]", redis.rpush(name, *elements))


async def _blocked(redis: Redis) -> list[str]:
    found = cast("list[dict[str, Any]]", await redis.client_list())
    return [connection["id"] for connection in found if connection["cmd"] == "blpop"]


async def test_the_first_element_of_the_first_list(redis: Redis, pops: BlockingPops) -> None:
    await _push(redis, "some:b", "1", "2", "3")
    popped = await pops.pop([b"some:a", b"some:b"])
    assert popped is not None
    assert tuple(popped) == (b"some:b", b"1")
    assert [list(more) for more in await pops.more([b"some:a", b"some:b"], 5)] == [[], [b"2", b"3"]]


async def test_nothing_in_time(pops: BlockingPops) -> None:
    assert await pops.pop([b"some:a"]) is None


async def test_a_connection_that_is_cut_is_told(redis: Redis, pops: BlockingPops) -> None:
    await pops.pop([b"some:a"])
    popping = asyncio.create_task(pops.pop([b"some:a"]))
    await until(lambda: _blocked(redis), "it blocks")
    (own,) = await _blocked(redis)
    await redis.client_kill_filter(_id=own)
    with pytest.raises(RedisConnectionError):
        await popping
