"""A server that becomes a replica keeps its connections: each kind of ours leaves it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest
import redis as redis_sync
from redis.exceptions import ReadOnlyError, ResponseError

from nooble_tasks import DomainAction, RedisManager, callbacks
from nooble_tasks.blocking import BlockingPops
from nooble_tasks.connections import threaded_twin
from nooble_tasks.multiplexed import multiplexed
from tests.nooble_tasks.redis_servers import manager_of, server
from tests.nooble_tasks.support import soon, until

NOBODY = 1
"""A port on which no primary answers: the server stays a replica without data of others."""


class Demoted:
    """A manager's connections to a server that changes its part."""

    def __init__(self, manager: RedisManager, other: Any) -> None:
        self.manager = manager
        self._other = other

    def is_replica(self, so: bool) -> None:
        """Its part from now on; connections stay open."""
        self._other.execute_command("REPLICAOF", *(("127.0.0.1", NOBODY) if so else ("NO", "ONE")))

    async def somebody_blocks(self) -> bool:
        """In the reading of a list."""
        return any("b" in each["flags"] for each in self._other.client_list())

    def connections(self) -> set[int]:
        """Of all others."""
        own = self._other.client_id()
        return {int(each["id"]) for each in self._other.client_list()} - {own}


@pytest.fixture
async def demoted() -> AsyncIterator[Demoted]:
    with server() as port, redis_sync.Redis(port=port, protocol=2) as other:
        async with manager_of(f"redis://127.0.0.1:{port}") as manager:
            yield Demoted(manager, other)


async def test_commands(demoted: Demoted) -> None:
    await refused_then_anew(demoted, demoted.manager.get_client().set)


async def test_scripts_on_the_shared_connection(demoted: Demoted) -> None:
    line = multiplexed(demoted.manager.get_client())

    async def write(key: str, value: str) -> Any:
        return await line.execute_command("SET", key, value)

    await write("key", "first")
    await refused_then_anew(demoted, write)
    await line.disconnect()


async def test_a_reader_that_blocks(demoted: Demoted) -> None:
    pops = BlockingPops(demoted.manager.get_client(), 0.05)

    async def pop(key: str, value: str) -> Any:
        return await pops.pop([b"empty"])

    async with aclosing(Closing(pops)):
        await pop("", "")
        await refused_then_anew(demoted, pop)


async def test_the_heartbeats_thread(demoted: Demoted) -> None:
    for twin in (threaded_twin(demoted.manager.get_client(), 1), demoted.manager.heartbeat_client()):
        demoted.is_replica(True)
        with pytest.raises(ReadOnlyError):
            twin.set("key", "value")
        before = demoted.connections()
        demoted.is_replica(False)
        assert twin.set("key", "value")
        assert demoted.connections() - before, "the same connection again"
        twin.close()


async def test_a_listener_for_callbacks(demoted: Demoted, monkeypatch: pytest.MonkeyPatch) -> None:
    """It waits for a primary when its blocking read is ended, and when what it has handed out is removed."""
    paused = asyncio.Event()
    monkeypatch.setattr(callbacks, "_RETRY_S", 0.01)
    monkeypatch.setattr(callbacks._log, "warning", lambda *_: paused.set())
    redis: Any = demoted.manager.get_client()
    sent = DomainAction(action_type="a.b", tenant_id="acme")
    async with aclosing(callbacks.listen(redis, "list")) as arriving:
        arrives = asyncio.ensure_future(anext(arriving))
        await until(demoted.somebody_blocks)
        demoted.is_replica(True)
        await soon(paused.wait())
        demoted.is_replica(False)
        await redis.lpush("list", sent.to_json())
        assert (await soon(arrives)).action_id == sent.action_id

        paused.clear()
        demoted.is_replica(True)
        arrives = asyncio.ensure_future(anext(arriving))
        await soon(paused.wait())
        demoted.is_replica(False)
        await until(demoted.somebody_blocks)
        assert await redis.llen("list") == 0
        arrives.cancel()
        await asyncio.wait((arrives,))


async def test_a_listener_for_callbacks_ends_with_what_does_not_pass(demoted: Demoted) -> None:
    await demoted.manager.get_client().set("list", "mine")
    async with aclosing(callbacks.listen(demoted.manager.get_client(), "list")) as arriving:
        with pytest.raises(ResponseError, match="WRONGTYPE"):
            await soon(anext(arriving))


class Closing:
    """`aclosing` for what closes by `close`."""

    def __init__(self, what: BlockingPops) -> None:
        self._what = what

    async def aclose(self) -> None:
        """Close it."""
        await self._what.close()


async def refused_then_anew(demoted: Demoted, write: Any) -> None:
    """The refusal is told as it is, the next write goes over a new connection."""
    before = demoted.connections()
    demoted.is_replica(True)
    with pytest.raises(ReadOnlyError):
        await write("key", "value")
    demoted.is_replica(False)
    await write("key", "value")
    assert demoted.connections() - before, "the same connections again"
