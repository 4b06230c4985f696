"""Pops that block: what comes first, what else is there, what a broken connection is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Sequence
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


async def test_a_listener_gets_element_after_element_until_it_is_cut_off(
    redis: Redis, pops: BlockingPops
) -> None:
    """Also after a while without any."""
    taken: asyncio.Queue[tuple[bytes, bytes]] = asyncio.Queue()

    def take(popped: Sequence[bytes] | None) -> bool:
        if popped is not None:
            taken.put_nowait((popped[0], popped[1]))
        return True

    listening = asyncio.create_task(pops.listen((b"some:a", b"some:b"), take))
    for n in range(5):
        await _push(redis, "some:a", f"{n}", "more")
        await _push(redis, "some:b", f"{n}")
        got = [await asyncio.wait_for(taken.get(), 5) for _ in range(3)]
        assert sorted(got) == [(b"some:a", b"%d" % n), (b"some:a", b"more"), (b"some:b", b"%d" % n)]
        if n == 2:
            await asyncio.sleep(0.25)  # longer than a pop blocks
    await until(lambda: _blocked(redis), "it blocks")
    (own,) = await _blocked(redis)
    await redis.client_kill_filter(_id=own)
    with pytest.raises(RedisConnectionError):
        await asyncio.wait_for(listening, 5)


async def test_a_listener_ends_when_it_has_enough(redis: Redis, pops: BlockingPops) -> None:
    taken: list[Any] = []

    def take(popped: Any) -> bool:
        taken.append(popped and popped[1])
        return len(taken) % 2 == 1

    await _push(redis, "some:a", "1", "2", "3", "4", "5")
    await pops.listen((b"some:a",), take)
    await pops.listen((b"some:a",), take)
    assert taken == [b"1", b"2", b"3", b"4"]
    await pops.listen((b"some:a",), take)
    assert taken[4:] == [b"5", None]


async def test_what_an_element_sets_off_is_written_before_the_next_pop(redis: Redis) -> None:
    """Somebody waits for that; the server would read the pop first."""
    pops = BlockingPops(redis, 5)
    order: list[str] = []
    taken = asyncio.Event()

    def take(popped: Any) -> bool:
        loop.call_soon(order.append, "set off")
        taken.set()
        return True

    loop = asyncio.get_running_loop()
    listening = asyncio.create_task(pops.listen((b"some:a",), take))
    await until(lambda: _blocked(redis), "it blocks")
    await _push(redis, "some:a", "1")  # of the first pop, which is awaited
    await asyncio.wait_for(taken.wait(), 5)
    await until(lambda: _blocked(redis), "it blocks again")
    line, asks = pops._line, pops._line.ask_again
    taken.clear()
    order.clear()

    def ask(request: bytes) -> Any:
        order.append("pop")
        return asks(request)

    line.ask_again = ask
    await _push(redis, "some:a", "2")
    await asyncio.wait_for(taken.wait(), 5)
    await until(lambda: _blocked(redis), "it blocks again")
    assert order == ["set off", "pop"]
    listening.cancel()
    await asyncio.gather(listening, return_exceptions=True)
    await pops.close()
