from __future__ import annotations

import asyncio
import threading

import pytest
import redis.asyncio as redis_asyncio

from nooble_tasks import redis_clients
from nooble_tasks.errors import ConfigurationError, NotInitialized, QueueUnavailable
from nooble_tasks.redis_manager import RedisManager, close_redis_client, get_redis_client
from nooble_tasks.settings import Settings
from tests.nooble_tasks.redis_servers import awaited, client_names, manager_of, one_sided_server


class TestLifeCycle:
    async def test_the_client_is_there_after_initialize_and_only_then(self, redis_url: str) -> None:
        manager = manager_of(redis_url)
        with pytest.raises(NotInitialized, match=r"await initialize\(\) first"):
            manager.get_client()
        await manager.initialize()
        client = manager.get_client()
        await manager.initialize()
        assert manager.get_client() is client
        assert await manager.get_redis_connection() is client
        await client.set("k", "v")
        assert await client.get("k") == b"v"
        await manager.close()
        await manager.close()
        with pytest.raises(NotInitialized):
            manager.get_client()

    async def test_the_async_getter_initialises_once_however_many_ask(self, redis_url: str) -> None:
        manager = manager_of(redis_url)
        clients = await asyncio.gather(*(manager.get_redis_connection() for _ in range(20)))
        assert all(client is clients[0] for client in clients)
        await manager.close()

    async def test_it_can_be_opened_again(self, redis_url: str) -> None:
        manager = manager_of(redis_url)
        for _ in range(2):
            async with manager:
                assert await manager.get_client().ping()

    async def test_a_given_url_outranks_the_settings(self, redis_url: str) -> None:
        async with RedisManager(Settings(redis_url="redis://127.0.0.1:1"), url=redis_url) as manager:
            assert await manager.get_client().ping()
            assert manager.url == redis_url
            assert not manager.is_cluster

    async def test_close_closes_everything_it_handed_out(
        self, redis_url: str, redis: redis_asyncio.Redis
    ) -> None:
        async with manager_of(redis_url, service_name="closing") as manager:
            await manager.blocking_client(1).ping()
            await asyncio.to_thread(manager.heartbeat_client().ping)
            names = await client_names(redis)
            for purpose in ("commands", "blocking", "heartbeat"):
                assert f"nooble-closing-{purpose}" in names
        # the autouse fixture of the suite fails on what is still open


class TestFailures:
    async def test_nobody_there(self) -> None:
        manager = manager_of("redis://user:hunter2@127.0.0.1:1/0")
        with pytest.raises(QueueUnavailable, match="does not answer") as caught:
            await manager.initialize()
        assert "hunter2" not in str(caught.value)
        assert "hunter2" not in repr(manager)
        assert "NOOBLE_REDIS_URL" in str(caught.value)
        with pytest.raises(NotInitialized):
            manager.get_client()

    async def test_a_wrong_password(self, redis_url: str, redis: redis_asyncio.Redis) -> None:
        await redis.acl_setuser("guest", enabled=True, passwords=["+right"], categories=["+@all"])
        try:
            scheme, _, rest = redis_url.partition("://")
            manager = manager_of(f"{scheme}://guest:wrong@{rest}")
            with pytest.raises(QueueUnavailable, match=r"(?i)username-password"):
                await manager.initialize()
        finally:
            await redis.acl_deluser("guest")

    async def test_no_url_at_all(self) -> None:
        with pytest.raises(ConfigurationError, match="set NOOBLE_REDIS_URL"):
            await RedisManager(Settings()).initialize()

    async def test_a_server_that_accepts_and_says_nothing_is_given_up(self) -> None:
        async with one_sided_server(lambda _: None) as (url, _):
            manager = manager_of(url, redis_socket_timeout_s=0.1)
            with pytest.raises(QueueUnavailable):
                await manager.initialize()


class TestPool:
    async def test_callers_wait_for_a_connection_instead_of_failing(
        self, redis_url: str, redis: redis_asyncio.Redis
    ) -> None:
        async with manager_of(redis_url, redis_max_connections=4, service_name="crowd") as manager:
            client = manager.get_client()
            await asyncio.gather(*(client.incr("n") for _ in range(500)))
            assert await client.get("n") == b"500"
            assert (await client_names(redis)).count("nooble-crowd-commands") <= 4

    async def test_a_cancelled_command_leaves_no_answer_for_the_next(self, redis_url: str) -> None:
        async with manager_of(redis_url, redis_max_connections=1) as manager:
            client = manager.get_client()
            await client.set("mine", "mine")
            for _ in range(50):
                task = asyncio.create_task(awaited(client.echo("of-another")))
                await asyncio.sleep(0)
                task.cancel()
                assert await client.get("mine") == b"mine"
                await asyncio.gather(task, return_exceptions=True)

    async def test_reconnect_drops_idle_connections(self, redis_url: str) -> None:
        async with manager_of(redis_url) as manager:
            before = await manager.get_client().client_id()
            await manager.reconnect()
            assert await manager.get_client().client_id() != before


class TestHeartbeat:
    async def test_it_works_while_the_event_loop_is_stuck(self, redis_url: str) -> None:
        async with manager_of(redis_url) as manager:
            client = manager.heartbeat_client()
            thread = threading.Thread(target=lambda: client.set("beat", "1"))
            thread.start()
            thread.join(10)  # the loop cannot run meanwhile
            assert await manager.get_client().get("beat") == b"1"

    def test_it_gives_up_within_a_third_of_the_lease(self) -> None:
        client = manager_of("redis://h", lease_s=3).heartbeat_client()
        assert client.connection_pool.connection_kwargs["socket_timeout"] == 1.0
        assert client.connection_pool.connection_kwargs["protocol"] == 2


class TestDefaultClient:
    @pytest.fixture(autouse=True)
    def _settings(self, monkeypatch: pytest.MonkeyPatch, redis_url: str) -> None:
        monkeypatch.setenv("NOOBLE_REDIS_URL", redis_url)

    async def test_one_for_the_process_awaited_or_not(self) -> None:
        client = get_redis_client()
        assert get_redis_client() is client
        assert await awaited(client) is client
        assert await client.ping()
        await close_redis_client()
        again = get_redis_client()
        assert again is not client
        assert await again.ping()
        await close_redis_client()
        await close_redis_client()

    def test_each_event_loop_gets_its_own(self) -> None:
        async def once() -> redis_asyncio.Redis:
            client = get_redis_client()
            await client.ping()
            await redis_clients.close_async(client)
            return client

        assert asyncio.run(once()) is not asyncio.run(once())
