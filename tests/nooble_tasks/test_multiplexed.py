"""The shared connection: replies reach who asked, however calls are cancelled, late or cut off."""

from __future__ import annotations

import asyncio
import gc
import socket
import time
import unittest.mock
import weakref
from collections.abc import AsyncIterator
from contextvars import ContextVar
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from nooble_tasks import multiplexed as module
from nooble_tasks.multiplexed import Multiplexed, multiplexed
from tests.nooble_tasks.support import connect, soon

pytest.importorskip("hiredis")


@pytest.fixture
async def shared(redis: Redis) -> AsyncIterator[Multiplexed]:
    client = multiplexed(redis)
    assert isinstance(client, Multiplexed)
    yield client
    await client.disconnect()


async def clients_of(redis: Redis) -> int:
    return len(await redis.client_list())


async def test_a_thousand_tasks_on_one_connection_each_get_their_own_reply(
    shared: Multiplexed, redis: Redis
) -> None:
    before = await clients_of(redis)
    replies = await asyncio.gather(*(shared.execute_command("ECHO", f"{n}") for n in range(1_000)))
    assert replies == [str(n).encode() for n in range(1_000)]
    assert await clients_of(redis) == before + 1


async def test_several_commands_together_with_errors_as_values(shared: Multiplexed) -> None:
    ping, error, echo = await shared.execute_together([("PING",), ("EVALSHA", "0" * 40, 0), ("ECHO", 1.5)])
    assert (ping, echo) == (b"PONG", b"1.5")
    assert isinstance(error, NoScriptError)


async def test_a_request_that_does_not_fit_into_the_socket_goes_before_later_ones(
    shared: Multiplexed,
) -> None:
    await shared.execute_command("PING")
    large = b"x" * 20_000_000
    first = asyncio.create_task(shared.execute_command("ECHO", large))
    await asyncio.sleep(0)
    line = shared._line
    assert line is not None
    assert 0 < line._transport.get_write_buffer_size() < len(large), "a part of it is written at once"
    later = await asyncio.gather(*(shared.execute_command("ECHO", f"{n}") for n in range(20)))
    assert later == [f"{n}".encode() for n in range(20)]
    assert await first == large


async def test_a_closed_connection_keeps_no_socket_of_its_own(shared: Multiplexed, redis: Redis) -> None:
    before = await clients_of(redis)
    await shared.execute_command("PING")
    assert shared._line is not None
    own = shared._line._socket
    assert own is not None
    await shared.disconnect()
    assert own.fileno() == -1
    assert await clients_of(redis) == before


def test_what_is_to_be_encrypted_is_not_written_past_the_transport() -> None:
    with socket.socket() as own:
        transport = unittest.mock.Mock()
        transport.get_extra_info = {"socket": own, "sslcontext": object()}.get
        assert module._plain_socket(transport) is None
        transport.get_extra_info = {"socket": own}.get
        plain = module._plain_socket(transport)
        assert plain is not None
        plain.close()


async def test_what_is_asked_is_on_its_way_before_anybody_awaits_it(shared: Multiplexed) -> None:
    assert shared.ask([("INCR", "n")]) is None, "there is no connection yet"
    await shared.execute_command("PING")
    asked = shared.ask([("INCR", "n"), ("NONSENSE",)])
    assert asked is not None
    assert await shared.execute_command("GET", "n") == b"1"
    counted, error = await asked
    assert counted == 1
    assert isinstance(error, ResponseError)


async def test_who_fails_when_it_is_told_harms_nobody_else(shared: Multiplexed) -> None:
    await shared.execute_command("PING")
    failed: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, what: failed.append(str(what["exception"])))

    def fail(replies: Any) -> None:
        raise IndexError("of its own")

    first, last = shared.ask([("PING",)]), shared.ask([("ECHO", "x")])
    assert first is not None
    assert last is not None
    first.tell(fail)
    assert await last == [b"x"]
    assert failed == ["of its own"]
    first, last = shared.ask([("BLPOP", "none", 5)]), shared.ask([("ECHO", "x")])
    assert first is not None
    assert last is not None
    first.tell(fail)
    assert shared._line is not None
    shared._line._transport.abort()
    with pytest.raises(RedisConnectionError):
        await last
    assert failed == ["of its own"] * 2
    asyncio.get_running_loop().set_exception_handler(None)


async def test_who_asks_to_be_told_is_told_before_anybody_is_woken(shared: Multiplexed) -> None:
    await shared.execute_command("PING")
    order: list[Any] = []
    asked = shared.ask([("INCR", "n"), ("NONSENSE",)])
    assert asked is not None

    async def waiter() -> None:
        order.append(await shared.execute_command("ECHO", "x"))

    waiting = asyncio.create_task(waiter())
    asked.tell(order.append)
    await waiting
    (counted, error), echo = order
    assert (counted, echo) == (1, b"x")
    assert isinstance(error, ResponseError)
    asked.tell(order.append)
    assert order[2] is order[0], "also when it is over"


async def test_who_asks_to_be_told_is_told_in_its_own_context(redis: Redis) -> None:
    """And not in that of a handler whose call happened to open the connection."""
    mark = ContextVar("mark", default="nobody's")
    shared = multiplexed(redis)

    async def handler() -> None:
        mark.set("a handler's")
        await shared.execute_command("PING")

    await asyncio.create_task(handler())
    found = asyncio.get_running_loop().create_future()
    asked = shared.ask([("PING",)])
    asked.tell(lambda replies: found.set_result(mark.get()))
    assert await soon(found) == "nobody's"
    await shared.disconnect()


async def test_nothing_is_kept_of_who_was_told(shared: Multiplexed) -> None:
    """A worker's turn knows its own answer: together they would be left to the collector of garbage."""

    class Turn:
        def __init__(self) -> None:
            self.ended = asyncio.get_running_loop().create_future()

        def told(self, replies: object) -> None:
            self.ended.set_result(replies)

    await shared.execute_command("PING")
    turn = Turn()
    turn.asked = shared.ask([("PING",)])  # type: ignore[attr-defined]
    turn.asked.tell(turn.told)  # type: ignore[attr-defined]
    assert await soon(turn.ended) == [b"PONG"]
    gone = weakref.ref(turn)
    gc.disable()
    try:
        del turn
        assert gone() is None
    finally:
        gc.enable()


async def test_who_asks_to_be_told_is_told_that_the_connection_broke(
    shared: Multiplexed, redis: Redis
) -> None:
    await shared.execute_command("PING")
    told: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    asked = shared.ask([("PING",), ("BLPOP", "nothing", 0)])
    assert asked is not None
    asked.tell(told.set_result)
    await redis.client_kill_filter(_id=await find(redis, "blpop"))
    assert isinstance(await told, RedisConnectionError)
    with pytest.raises(RedisConnectionError):
        await asked


async def test_who_asked_first_goes_on_first(shared: Multiplexed) -> None:
    """Else a worker's second turn could start its actions before the first one's."""
    order: list[int] = []

    async def call(number: int, commands: int) -> None:
        await shared.execute_together([("PING",)] * commands)
        order.append(number)

    await shared.execute_command("PING")
    await asyncio.gather(*(call(number, 1 + (number * 7) % 5) for number in range(200)))
    assert order == list(range(200))


async def test_who_asked_first_goes_on_first_also_where_answers_come_before_a_task_begins(
    shared: Multiplexed, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[int] = []

    async def take(number: int, asked: Any) -> None:
        await asked
        order.append(number)

    await shared.execute_command("PING")
    line = shared._line
    assert line is not None
    with monkeypatch.context() as patch:
        patch.setattr(line, "_transport", unittest.mock.Mock())  # the answers are the test's
        first = asyncio.create_task(take(1, shared.ask([("PING",), ("PING",)])))
        await asyncio.sleep(0)
        second = asyncio.create_task(take(2, shared.ask([("PING",)])))
        line.data_received(b"+PONG\r\n" * 3)
        await asyncio.gather(first, second)
    assert order == [1, 2]


async def test_what_the_server_says_unasked_is_nobodys_reply(shared: Multiplexed, redis: Redis) -> None:
    await shared.execute_together([("HELLO", 3), ("CLIENT", "TRACKING", "ON")])
    line = shared._line
    for value in (b"1", b"2", b"3"):
        await redis.set("tracked", value)  # from the second time on the server tells the shared connection
        assert await shared.execute_command("GET", "tracked") == value
    assert shared._line is line


async def test_an_error_reply_is_raised_and_the_next_call_works(shared: Multiplexed) -> None:
    with pytest.raises(ResponseError, match="unknown command"):
        await shared.execute_command("NONSENSE")
    assert await shared.execute_command("PING") == b"PONG"


async def test_cancelled_calls_spoil_nothing(shared: Multiplexed) -> None:
    """The reply of a call nobody waits for any more is thrown away, not given to the next."""
    for _ in range(50):
        calls = [asyncio.create_task(shared.execute_command("ECHO", f"{n}")) for n in range(20)]
        await asyncio.sleep(0)
        for call in calls[::2]:
            call.cancel()
        replies = await asyncio.gather(*calls, return_exceptions=True)
        assert replies[1::2] == [str(n).encode() for n in range(1, 20, 2)]


async def test_a_killed_connection_fails_who_waits_and_is_made_again(
    shared: Multiplexed, redis: Redis
) -> None:
    await shared.execute_command("PING")
    waiting = asyncio.create_task(shared.execute_command("BLPOP", "nothing", 0))
    own = await find(redis, "blpop")
    await redis.client_kill_filter(_id=own)
    with pytest.raises(RedisConnectionError):
        await waiting
    assert await shared.execute_command("PING") == b"PONG"


async def test_a_reply_that_is_overdue_breaks_the_connection(redis_url: str) -> None:
    redis = connect(redis_url)
    redis.connection_pool.connection_kwargs["socket_timeout"] = 0.1
    client = multiplexed(redis)
    late, behind = (
        asyncio.create_task(client.execute_command(*command)) for command in (("BLPOP", "x", 0), ("PING",))
    )
    for call in (late, behind):
        with pytest.raises(RedisTimeoutError, match=r"no reply within 0\.1 s"):
            await call
    assert await client.execute_command("PING") == b"PONG"
    await client.disconnect()
    await redis.aclose()


async def test_a_long_reply_that_waits_for_a_blocked_loop_is_not_overdue(redis_url: str) -> None:
    client = connect(redis_url)
    client.connection_pool.connection_kwargs["socket_timeout"] = 0.5
    shared = Multiplexed(client)
    try:
        await shared.execute_command("SET", "some:long", b"x" * 16_000_000)
        asking = asyncio.create_task(shared.execute_command("GET", "some:long"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        time.sleep(0.7)  # noqa: ASYNC251 - a handler that blocks the loop
        assert len(await asking) == 16_000_000
    finally:
        await shared.disconnect()
        await client.aclose()


async def test_closing_the_client_closes_the_shared_connection_too(redis_url: str) -> None:
    redis = connect(redis_url)
    client = multiplexed(redis)
    await client.execute_command("PING")
    await redis.aclose()  # the watch on leaked connections sees to the rest
    await client.disconnect()


async def test_it_can_be_used_again_after_disconnecting(shared: Multiplexed) -> None:
    await shared.execute_command("PING")
    await shared.disconnect()
    assert await shared.execute_command("PING") == b"PONG"


async def test_everything_else_is_the_clients(shared: Multiplexed, redis: Redis) -> None:
    await redis.set("a", 1)
    assert await shared.get("a") == b"1"


@pytest.mark.parametrize(
    "options", [{"decode_responses": True}, {"max_connections": 2}, {"protocol": 3}], ids=str
)
async def test_clients_it_cannot_share_are_left_as_they_are(redis_url: str, options: dict[str, Any]) -> None:
    client = Redis.from_url(redis_url, **options)
    assert multiplexed(client) is client
    await client.aclose()


async def test_without_hiredis_the_client_is_left_as_it_is(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "hiredis", None)
    assert multiplexed(redis) is redis
    assert multiplexed(object()) is not None


async def find(redis: Redis, command: str) -> str:
    """The id of the connection that waits in ``command``."""
    async with asyncio.timeout(5):
        while True:
            for each in await redis.client_list():
                if each["cmd"] == command:
                    return str(each["id"])
            await asyncio.sleep(0)
