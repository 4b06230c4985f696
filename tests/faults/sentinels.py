"""A primary, its replicas and the sentinels that watch them, as processes that can be killed."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import redis.asyncio as redis_asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from tests.nooble_tasks.redis_servers import free_port

SENTINELS, SERVERS = 3, 3
PATIENCE_S = 30.0
NAME = "main"


class Installation:
    """Three servers, one of them the primary, and three sentinels of which two decide."""

    def __init__(self, binary: Path, folder: Path) -> None:
        self._binary, self._folder = binary, folder
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self._clients: dict[int, Any] = {}
        self.servers: list[int] = []
        self.sentinels: list[int] = []

    @property
    def url(self) -> str:
        """For workers and clients."""
        hosts = ",".join(f"127.0.0.1:{port}" for port in self.sentinels)
        return f"redis+sentinel://{hosts}/{NAME}/0"

    def direct_url(self, port: int) -> str:
        """Of one server, whatever its part."""
        return f"redis://127.0.0.1:{port}/0"

    async def __aenter__(self) -> Self:
        self.servers = [free_port() for _ in range(SERVERS)]
        for port in self.servers:
            self.start(port)
            await self._until_it_answers(port)
        first, *others = self.servers
        for port in others:
            await self.client(port).replicaof("127.0.0.1", str(first))
        await self._until(first, lambda told: told["connected_slaves"] == len(others))
        for _ in range(SENTINELS):
            port = free_port()
            self._watch(port, first)
            self.sentinels.append(port)
            await self._until_it_answers(port)
        await self._until_they_know_each_other()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._processes.values():
            process.kill()
            process.wait(PATIENCE_S)
        for client in self._clients.values():
            await client.aclose()

    def start(self, port: int) -> None:
        """A server that does not run; the sentinels tell it whose replica it is."""
        if port in self._processes:
            return
        folder = self._folder / str(port)
        folder.mkdir(exist_ok=True)
        config = folder / "server.conf"
        if not config.exists():
            config.write_text(
                f'bind 127.0.0.1\nport {port}\ndir {folder}\nsave ""\nappendonly no\n'
                "repl-diskless-sync yes\nrepl-diskless-sync-delay 0\n"
            )
        self._run(port, str(config))

    def kill(self, port: int) -> None:
        """kill -9, and wait for the end."""
        process = self._processes.pop(port)
        process.kill()
        process.wait(PATIENCE_S)

    def client(self, port: int) -> Any:
        """A client of one server or sentinel."""
        if port not in self._clients:
            self._clients[port] = redis_asyncio.Redis(port=port, protocol=2, retry=Retry(NoBackoff(), 0))
        return self._clients[port]

    async def primary(self) -> int:
        """The port of the primary, as most sentinels see it."""
        said = [
            (await self.client(port).sentinel_get_master_addr_by_name(NAME))[1] for port in self.sentinels
        ]
        return max(set(said), key=said.count)

    async def step_down(self) -> None:
        """The primary becomes a replica, as before maintenance of its machine."""
        await self.client(self.sentinels[0]).execute_command("SENTINEL", "FAILOVER", NAME)

    async def until_another(self, than: int) -> int:
        """Wait until another server takes writes, and that one no more; its port."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                port = await self.primary()
                roles = [(await self._told(each)).get("role") for each in (port, than)]
                if port != than and roles[0] == "master" != roles[1]:
                    return port
                await asyncio.sleep(0.02)

    async def until_followed(self, primary: int, by: int) -> None:
        """Wait until so many replicas have all that the primary has."""
        await self._until(
            primary,
            lambda told: (
                sum(told.get(f"slave{each}", {}).get("state") == "online" for each in range(by)) == by
            ),
        )

    def _watch(self, port: int, primary: int) -> None:
        folder = self._folder / str(port)
        folder.mkdir()
        config = folder / "sentinel.conf"
        config.write_text(
            f"bind 127.0.0.1\nport {port}\ndir {folder}\nsentinel monitor {NAME} 127.0.0.1 {primary} 2\n"
            f"sentinel down-after-milliseconds {NAME} 500\nsentinel failover-timeout {NAME} 1500\n"
        )
        self._run(port, str(config), "--sentinel")

    def _run(self, port: int, *arguments: str) -> None:
        self._processes[port] = subprocess.Popen([str(self._binary), *arguments], stdout=subprocess.DEVNULL)

    async def _until_it_answers(self, port: int) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while True:
                try:
                    await self.client(port).ping()
                    return
                except (RedisError, OSError):
                    await asyncio.sleep(0.02)

    async def _told(self, port: int) -> dict[str, Any]:
        try:
            told: dict[str, Any] = await self.client(port).info("replication")
        except (RedisError, OSError):
            return {}
        return told

    async def _until(self, port: int, satisfied: Any) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not satisfied(await self._told(port)):  # noqa: ASYNC110
                await asyncio.sleep(0.02)

    async def _until_they_know_each_other(self) -> None:
        async with asyncio.timeout(PATIENCE_S):
            for port in self.sentinels:
                while True:
                    seen = await self.client(port).sentinel_master(NAME)
                    if (int(seen["num-other-sentinels"]), int(seen["num-slaves"])) == (
                        SENTINELS - 1,
                        SERVERS - 1,
                    ):
                        break
                    await asyncio.sleep(0.02)
