from __future__ import annotations

import asyncio

import pytest
import redis as redis_sync

from nooble_tasks.errors import QueueUnavailable
from tests.nooble_tasks.redis_servers import awaited, manager_of, pop_from, sentinel, server, wait_for


class TestInstallations:
    """The same clients on a socket, behind sentinels and on a cluster, with real servers."""

    async def test_unix_socket(self, tmp_path_factory: pytest.TempPathFactory) -> None:
        path = tmp_path_factory.mktemp("s") / "s"
        with server("--unixsocket", str(path)):
            await use_every_client(f"unix://{path}?db=2")

    async def test_sentinel(self) -> None:
        with server() as master, sentinel(master) as port:
            await use_every_client(f"redis+sentinel://127.0.0.1:1,127.0.0.1:{port}/main/3")
            with redis_sync.Redis(port=port, protocol=2) as watch:
                wait_for(lambda: sum("sentinel" not in each["flags"] for each in watch.client_list()) == 1)

    async def test_sentinel_does_not_know_the_service(self) -> None:
        with server() as master, sentinel(master) as port:
            manager = manager_of(f"redis+sentinel://127.0.0.1:{port}/other")
            with pytest.raises(QueueUnavailable, match="No master found for 'other'"):
                await manager.initialize()

    async def test_cluster(self) -> None:
        with server("--cluster-enabled", "yes") as port:
            with redis_sync.Redis(port=port, protocol=2) as node:
                node.execute_command("CLUSTER", "ADDSLOTS", *range(16384))
                wait_for(lambda: node.cluster("info")["cluster_state"] == "ok")
            await use_every_client(f"redis+cluster://127.0.0.1:{port}")


async def use_every_client(url: str) -> None:
    async with manager_of(url, redis_max_connections=3) as manager:
        client = manager.get_client()
        await asyncio.gather(*(client.incr("n") for _ in range(100)))
        assert await client.get("n") == b"100"
        assert await asyncio.to_thread(manager.heartbeat_client().get, "n") == b"100"
        blocking = manager.blocking_client(5)
        assert await pop_from(blocking, "nothing", 0.05) is None
        reading = asyncio.create_task(pop_from(blocking, "q", 5))
        await awaited(client.rpush("q", "x"))
        assert await reading == (b"q", b"x")
