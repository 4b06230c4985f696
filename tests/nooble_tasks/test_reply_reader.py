"""The reader of responses ends while nobody waits, and whoever comes at that moment still gets an answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from contextvars import ContextVar
from typing import cast

import pytest
from redis.asyncio import Redis

from nooble_tasks import replies
from nooble_tasks._engine import Keys


async def test_who_comes_while_the_reader_ends_is_answered(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replies, "BLOCK_S", 0.05)
    listener = replies.ReplyListener(redis, Keys(), "caller")
    ending, go_on = asyncio.Event(), asyncio.Event()
    disconnect = listener._disconnect

    async def slow_disconnect() -> None:
        if listener._blocking is not None and not ending.is_set():
            ending.set()
            await go_on.wait()
        await disconnect()

    monkeypatch.setattr(listener, "_disconnect", slow_disconnect)
    first = listener.expect("shop", "first")
    await asyncio.sleep(0)  # the reader starts
    listener.forget("shop", "first", first)
    async with asyncio.timeout(10):
        # A first announcement, so that the reader has a connection to close.
        zero = listener.expect("shop", "zero")
        await cast("Awaitable[int]", redis.rpush("nooble:shop:notify:caller", b"zero\nanswer"))
        assert await zero == b"answer"
        listener.forget("shop", "zero", zero)
        await ending.wait()
        future = listener.expect("shop", "second")
        go_on.set()
        await cast("Awaitable[int]", redis.rpush("nooble:shop:notify:caller", b"second\nanswer"))
        assert await future == b"answer"
    listener.forget("shop", "second", future)
    await listener.close()


async def test_the_reader_knows_nothing_of_whoever_waits_first(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be the attempt of a tenant, in whose name nothing is to be said when that is over."""
    mark = ContextVar("mark", default="nobody's")
    listener = replies.ReplyListener(redis, Keys(), "caller")
    found: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def read_once() -> bool:
        found.set_result(mark.get())
        await asyncio.Event().wait()
        return True

    monkeypatch.setattr(listener, "_read_once", read_once)
    mark.set("somebody's")
    listener.expect("shop", "first")
    assert await asyncio.wait_for(found, 10) == "nobody's"
    await listener.close()
