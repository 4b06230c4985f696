"""The connections of one process to Redis: a pool for commands, clients of their own for what blocks."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

import redis as redis_sync
import redis.asyncio as redis_asyncio
from redis.exceptions import RedisError

from .errors import ConfigurationError, NotInitialized, QueueUnavailable
from .redis_clients import ClientFactory, close_async, close_threaded
from .redis_url import parse_redis_url, redact_url
from .settings import CommonAppSettings


class RedisManager:
    """Opens, hands out and closes the clients of a service.

        async with RedisManager(settings) as manager:
            redis = manager.get_client()

    `url` outranks the settings' `redis_url`: the embedded server's address is only known at run time.
    """

    def __init__(self, settings: CommonAppSettings, *, url: str | None = None) -> None:
        self._settings = settings
        self._url = url or settings.redis_url
        self._lock = asyncio.Lock()
        self._client: redis_asyncio.Redis | None = None
        self._dedicated: list[redis_asyncio.Redis] = []
        self._threaded: list[redis_sync.Redis] = []

    @property
    def url(self) -> str | None:
        """Where the server is, with its secrets."""
        return self._url

    @property
    def is_cluster(self) -> bool:
        """Whether the server is a cluster."""
        return self._url is not None and parse_redis_url(self._url).kind == "cluster"

    async def initialize(self) -> None:
        """Open the pool and make sure that the server answers; a second call does nothing.

        Raises ConfigurationError without a URL, QueueUnavailable when nobody answers there.
        """
        async with self._lock:
            if self._client is not None:
                return
            client = self._factory().pooled()
            try:
                await client.ping()
            except (RedisError, OSError) as error:
                await close_async(client)
                reason = str(error) or type(error).__name__
                raise QueueUnavailable(
                    f"Redis at {redact_url(self._url or '')} does not answer: {reason}; "
                    "start it, or correct NOOBLE_REDIS_URL"
                ) from error
            except BaseException:
                await close_async(client)
                raise
            self._client = client

    def get_client(self) -> redis_asyncio.Redis:
        """The client for commands; NotInitialized before `initialize`."""
        if self._client is None:
            raise NotInitialized
        return self._client

    async def get_redis_connection(self) -> redis_asyncio.Redis:
        """The same client, after initialising where that has not happened."""
        if self._client is None:
            await self.initialize()
        return self.get_client()

    def blocking_client(self, timeout_s: float) -> redis_asyncio.Redis:
        """A client of its own connection for one reader whose commands block up to `timeout_s` seconds.

        It notices a dead server soon after that time, and it never repeats a read by itself: a repeated pop
        would lose what the first one took. `close` closes it.
        """
        if not 0 < timeout_s <= 3_600:
            raise ConfigurationError(
                f"a blocking read of {timeout_s} s cannot be watched; block for some seconds, in a loop"
            )
        client = self._factory().blocking(timeout_s)
        self._dedicated.append(client)
        return client

    def heartbeat_client(self, read_timeout_s: float | None = None) -> redis_sync.Redis:
        """A client without asyncio for the heartbeat's thread; a read gives up after a third of a lease.

        It connects at its first command (on a cluster at once). `close` closes it.
        """
        patience = min(self._settings.redis_socket_timeout_s, self._settings.lease_s / 3)
        client = self._factory().heartbeat(patience if read_timeout_s is None else read_timeout_s)
        self._threaded.append(client)
        return client

    async def reconnect(self) -> None:
        """Drop the idle connections, so that the next commands look up the server anew (after a failover)."""
        pool = getattr(self._client, "connection_pool", None)
        if pool is not None:
            await pool.disconnect(inuse_connections=False)

    async def close(self) -> None:
        """Close every client handed out; a second call does nothing."""
        async with self._lock:
            clients = [*self._dedicated, *([self._client] if self._client is not None else [])]
            self._client, self._dedicated = None, []
            for threaded in self._threaded:
                close_threaded(threaded)
            self._threaded = []
            for client in clients:
                await close_async(client)

    async def __aenter__(self) -> Self:
        await self.initialize()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<RedisManager {redact_url(self._url) if self._url else 'without a URL'}>"

    def _factory(self) -> ClientFactory:
        if self._url is None:
            raise ConfigurationError(
                "no Redis is configured: set NOOBLE_REDIS_URL or redis_url=, or start one with `nooble up`"
            )
        return ClientFactory(self._settings, parse_redis_url(self._url))

    def open(self) -> redis_asyncio.Redis:
        """The client for commands, whether the server answers or not: it connects at its first command."""
        if self._client is None:
            self._client = self._factory().pooled()
        return self._client


_default: RedisManager | None = None
_default_loop: asyncio.AbstractEventLoop | None = None


def get_redis_client(settings: CommonAppSettings | None = None) -> redis_asyncio.Redis:
    """The process's default client, made from the settings at first; it connects at its first command.

    Call it inside the event loop: a client belongs to one. `await get_redis_client()` works as well.
    `close_redis_client` closes it.
    """
    global _default, _default_loop
    loop = asyncio.get_running_loop()
    if _default is None or _default_loop is not loop:
        _default, _default_loop = RedisManager(settings or CommonAppSettings()), loop
    return _default.open()


async def close_redis_client() -> None:
    """Close the default client; the next `get_redis_client` makes a new one."""
    global _default, _default_loop
    manager, _default, _default_loop = _default, None, None
    if manager is not None:
        await manager.close()
