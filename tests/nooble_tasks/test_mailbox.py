"""Messages to a worker arrive in order, each once, over a connection of their own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from nooble_tasks.mailbox import Mailbox
from tests.nooble_tasks.support import KEYS, soon

Messages = asyncio.Queue[tuple[str, str]]


@pytest.fixture
async def messages(redis: Redis) -> AsyncIterator[Messages]:
    messages: Messages = asyncio.Queue()
    mailbox = Mailbox(redis, KEYS, "w1", ["a", "b"], lambda *message: messages.put_nowait(message))
    mailbox.after_error_s = 0.0
    mailbox.start()
    yield messages
    await mailbox.stop()


async def push(redis: Redis, domain: str, *messages: str | bytes) -> None:
    await redis.rpush(KEYS.mailbox(domain, "w1"), *messages)  # type: ignore[misc]


async def test_messages_of_all_domains_arrive(redis: Redis, messages: Messages) -> None:
    await push(redis, "a", "wake", "cancel x")
    await push(redis, "b", "stop")
    got = [await soon(messages.get()) for _ in range(3)]
    assert [message for message in got if message[0] == "a"] == [("a", "wake"), ("a", "cancel x")]
    assert ("b", "stop") in got


async def test_odd_bytes_do_not_end_it(redis: Redis, messages: Messages) -> None:
    await push(redis, "a", b"\xff", "wake")
    assert [await soon(messages.get()) for _ in range(2)] == [("a", "\ufffd"), ("a", "wake")]


async def test_a_broken_connection_counts_as_a_wake_up_and_is_made_again(
    redis: Redis, messages: Messages
) -> None:
    await push(redis, "a", "first")
    await soon(messages.get())
    blocked: list[str] = []
    while not blocked:
        blocked = [each["id"] for each in await redis.client_list() if each["cmd"] == "blpop"]
    await redis.client_kill_filter(_id=blocked[0])
    assert {await soon(messages.get()) for _ in range(2)} == {("a", "wake"), ("b", "wake")}
    await push(redis, "b", "stop")
    assert await soon(messages.get()) == ("b", "stop")
