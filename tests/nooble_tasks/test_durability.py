"""`durability="replicated"`: with a real replica, without it, with one that is cut off."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import redis.asyncio as redis_asyncio

from nooble_tasks import (
    BaseRedisClient,
    BaseWorker,
    ConfigurationError,
    NotReplicated,
    QueueUnavailable,
    ServerRefused,
    Settings,
)
from nooble_tasks._engine import Replication, inspection
from nooble_tasks.server_check import check_at_start, check_server
from tests.nooble_tasks.redis_servers import awaited, server
from tests.nooble_tasks.support import (
    DOMAIN,
    ProbeService,
    action,
    connect,
    make_client,
    settings_for,
    soon,
    until,
    working,
)


class Pair:
    """A master and its replica, and a client that waits for it."""

    def __init__(
        self, master: redis_asyncio.Redis, replica: redis_asyncio.Redis, client: BaseRedisClient
    ) -> None:
        self.master = master
        self.replica = replica
        self.client = client

    async def in_line(self, redis: redis_asyncio.Redis) -> int:
        return int(await awaited(redis.hlen(self.client.bus.keys.of("actions", DOMAIN))))

    async def stop_replicating(self) -> None:
        await self.replica.replicaof("NO", "ONE")

    async def replicate(self) -> None:
        port = self.master.connection_pool.connection_kwargs["port"]
        await self.replica.replicaof("127.0.0.1", str(port))

        async def up() -> bool:
            return (await self.replica.info("replication")).get("master_link_status") == "up"

        await until(up, "the replica follows")

        async def counted() -> bool:
            found = await self.master.info("replication")
            return found["connected_slaves"] == 1 and found["slave0"]["state"] == "online"

        await until(counted, "the master counts it")


@pytest.fixture(scope="module")
def ports() -> Iterator[tuple[int, int]]:
    with server("--repl-diskless-sync-delay", "0") as master, server() as replica:
        yield master, replica


@pytest.fixture
async def pair(ports: tuple[int, int]) -> AsyncIterator[Pair]:
    master, replica = (connect(f"redis://127.0.0.1:{port}") for port in ports)
    async with master, replica:
        await replica.replicaof("NO", "ONE")
        await master.flushall()
        client = make_client(master, durability="replicated", replication_timeout_s=2)
        made = Pair(master, replica, client)
        await made.replicate()
        yield made
        await client.close()


async def test_what_was_accepted_is_on_the_replica(pair: Pair) -> None:
    handle = await pair.client.enqueue_action(action())
    assert handle.accepted
    assert await pair.in_line(pair.replica) == 1
    await pair.client.enqueue_actions([action() for _ in range(50)])
    assert await pair.in_line(pair.replica) == 51


async def test_on_a_server_that_knows_no_script_yet(pair: Pair) -> None:
    await pair.master.script_flush()
    await pair.client.enqueue_action(action())
    assert await pair.in_line(pair.replica) == 1


async def test_what_such_a_server_takes_is_waited_for_as_well(pair: Pair) -> None:
    """The script is sent a second time, on whichever connection: the first WAIT knows nothing of it."""
    await pair.client.enqueue_action(action())  # everything else is known then
    pair.client.bus.engine.replication = Replication(1, 100)
    frozen = (await pair.replica.info("server"))["process_id"]
    await pair.master.script_flush()

    async def has_everything() -> bool:
        found = await pair.master.info("replication")
        return bool(found["slave0"]["offset"] == found["master_repl_offset"])

    await until(has_everything, "the replica has confirmed everything")
    os.kill(frozen, signal.SIGSTOP)
    try:
        with pytest.raises(NotReplicated):
            await pair.client.enqueue_action(action())
    finally:
        os.kill(frozen, signal.SIGCONT)


async def test_without_the_replica_it_is_in_line_and_not_confirmed_until_sent_again(pair: Pair) -> None:
    await pair.stop_replicating()
    sent = action()
    pair.client.bus.engine.replication = Replication(1, 50)
    with pytest.raises(NotReplicated, match="is in line, but confirmed by 0 of 1 replicas") as refused:
        await pair.client.enqueue_action(sent)
    assert refused.value.action_id == sent.action_id
    assert refused.value.details["action_ids"] == [sent.action_id]
    assert await pair.in_line(pair.master) == 1
    assert await pair.client.send_action_pseudo_sync(action(), timeout=5) is None
    await pair.replicate()
    again = await pair.client.enqueue_action(sent)
    assert (again.accepted, again.action_id) == (False, sent.action_id)
    assert await pair.in_line(pair.replica) == 2


async def test_a_replica_that_answers_late_is_waited_for(pair: Pair) -> None:
    frozen = (await pair.replica.info("server"))["process_id"]
    await pair.client.bus.engine.publish_policy(
        "probe"
    )  # the first enqueue of a domain would wait for that, too
    os.kill(frozen, signal.SIGSTOP)
    try:
        sending = asyncio.create_task(pair.client.enqueue_action(action()))

        async def waits() -> bool:
            return any(each["cmd"] == "wait" for each in await pair.master.client_list())

        await until(waits, "the enqueue waits for the replica")
        assert await pair.in_line(pair.master) == 1
        assert not sending.done()
    finally:
        os.kill(frozen, signal.SIGCONT)
    assert (await soon(sending)).accepted
    assert await pair.in_line(pair.replica) == 1


async def test_a_server_that_wants_replicas_itself_takes_nothing(pair: Pair) -> None:
    await pair.stop_replicating()
    await pair.master.config_set("min-replicas-to-write", 1)
    try:
        with pytest.raises(QueueUnavailable, match="NOREPLICAS"):
            await pair.client.enqueue_action(action())
    finally:
        await pair.master.config_set("min-replicas-to-write", 0)
    assert await pair.in_line(pair.master) == 0


async def test_the_master_is_lost_and_the_replica_takes_over(pair: Pair) -> None:
    """What an enqueue returned for is run by a worker of the promoted replica."""
    handles = await pair.client.enqueue_actions([action(data={"n": n}) for n in range(20)])
    await pair.stop_replicating()  # promoted; the master is not asked again
    async with working(pair.replica, ProbeService()):

        async def all_done() -> bool:
            counts = await inspection.domain_counts(pair.client.bus.engine, DOMAIN)
            return counts is not None and await pair.in_line(pair.replica) == 0

        await until(all_done, "all are run")
    for handle in handles:
        assert await pair.replica.exists(pair.client.bus.keys.response(DOMAIN, handle.action_id))


async def test_other_levels_do_not_wait(redis: redis_asyncio.Redis) -> None:
    for durability in ("memory", "aof"):
        client = make_client(redis, durability=durability)
        await redis.config_resetstat()
        await client.enqueue_action(action())
        assert "cmdstat_wait" not in await redis.info("commandstats")
        await client.close()


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"durability": "paper"}, "durability"),
        ({"durability": "replicated", "redis_url": "redis+cluster://localhost"}, "not a cluster"),
        ({"durability": "replicated", "replication_timeout_s": 5}, "redis_socket_timeout_s"),
        ({"min_replicas": 0}, "min_replicas"),
        ({"server_check": "maybe"}, "server_check"),
    ],
)
def test_settings_that_cannot_be(values: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        Settings(**values)


# -- the check at the start --------------------------------------------------------------------------------


async def codes(redis: redis_asyncio.Redis, durability: str) -> set[str]:
    return {finding.code for finding in await check_server(redis, durability=durability)}


async def test_what_is_wrong_depends_on_what_is_promised(pair: Pair) -> None:
    assert await codes(pair.master, "memory") == set()
    assert await codes(pair.master, "aof") == {"persistence"}
    assert await codes(pair.master, "replicated") == {"persistence"}
    await pair.stop_replicating()
    await pair.master.config_set("maxmemory-policy", "allkeys-lru")
    try:
        assert await codes(pair.replica, "replicated") == {"persistence", "replicas"}
        assert await codes(pair.master, "memory") == {"eviction"}
    finally:
        await pair.master.config_set("maxmemory-policy", "noeviction")


async def test_a_worker_warns_or_refuses(pair: Pair, caplog: pytest.LogCaptureFixture) -> None:
    service = ProbeService()
    async with working(pair.master, service, settings=settings_for(server_check="warn")):
        assert "the append-only file is off" in caplog.text
    caplog.clear()
    for calm in ({"server_check": "off"}, {"durability": "memory", "server_check": "refuse"}):
        async with working(pair.master, service, settings=settings_for(**calm)):
            assert "append-only" not in caplog.text
    worker = BaseWorker(settings_for(server_check="refuse"), pair.master, service)
    with pytest.raises(ServerRefused, match=r"set appendonly yes.*server_check=warn"):
        await asyncio.wait_for(worker.run(), 10)


async def test_a_server_that_cannot_be_asked_is_no_reason(caplog: pytest.LogCaptureFixture) -> None:
    async with connect("redis://127.0.0.1:1") as gone:
        await check_at_start(gone, settings_for(server_check="refuse"), logging.getLogger("test"))
    assert "could not be checked" in caplog.text or "refuses INFO" in caplog.text
