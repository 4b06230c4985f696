"""How a client of redis-py is made: everything its releases default differently is set here, on purpose.

redis-py 8 retries ten times and gives a read up after five seconds where 5.3 did neither; a repeated write
or a repeated blocking pop breaks a queue. So: protocol 2, no retries, a timeout on every read, keepalive on
every socket, host names checked under TLS.
"""

from __future__ import annotations

import asyncio
import inspect
import socket
from typing import Any, cast

import redis as redis_sync
import redis.asyncio as redis_asyncio
from redis.asyncio.cluster import ClusterNode as AsyncClusterNode
from redis.asyncio.retry import Retry as AsyncRetry
from redis.asyncio.sentinel import Sentinel as AsyncSentinel
from redis.asyncio.sentinel import SentinelConnectionPool as AsyncSentinelPool
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode
from redis.retry import Retry
from redis.sentinel import Sentinel

from .primaries import (
    PrimaryConnection,
    PrimarySSLConnection,
    ThreadedPrimaryConnection,
    ThreadedPrimarySSLConnection,
)
from .redis_url import RedisTarget
from .settings import CommonAppSettings

POOL_WAIT_S = 20.0  # how long a command may wait for a free connection
BLOCKING_MARGIN_S = 3.0  # a blocking read is given up so much later than the server should have answered

# Linux's default probes a dead peer after two hours; these find it within half a minute.
_PROBES = {"TCP_KEEPIDLE": 15, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3}


class _BlockingSentinelPool(AsyncSentinelPool, redis_asyncio.BlockingConnectionPool):
    """Asks the sentinels for the master, and lets callers wait when all connections are in use."""


class _PatientCluster(redis_asyncio.RedisCluster):
    """A cluster client whose callers wait where redis-py fails: when a node's connections are all in use."""

    def __init__(self, *, at_once: int, **options: Any) -> None:
        # Pipelines do not pass the gate, so each node may open as many connections again.
        super().__init__(max_connections=2 * at_once, **options)
        self._gate = asyncio.Semaphore(at_once)

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        async with self._gate:
            return await cast(Any, super()).execute_command(*args, **options)


class ClientFactory:
    """Makes the clients of one target; whoever asks for one closes it."""

    def __init__(self, settings: CommonAppSettings, target: RedisTarget) -> None:
        self._settings = settings
        self._target = target

    def pooled(self) -> redis_asyncio.Redis:
        """The client for commands: one pool, whose callers wait for a connection rather than fail."""
        read_timeout = self._settings.redis_socket_timeout_s
        return self._make_async(read_timeout, self._settings.redis_max_connections, "commands")

    def blocking(self, timeout_s: float) -> redis_asyncio.Redis:
        """A client for one reader that blocks up to `timeout_s`, with its own connection."""
        # Two: a cancelled read drops its connection, and the next may start before that is done.
        return self._make_async(timeout_s + BLOCKING_MARGIN_S, 2, "blocking")

    def heartbeat(self, read_timeout_s: float) -> redis_sync.Redis:
        """A client without asyncio, for a thread that must not depend on the event loop."""
        target = self._target
        common = {**self._common(read_timeout_s, "heartbeat"), "retry": Retry(NoBackoff(), 0)}
        if target.kind == "cluster":
            nodes = [cast(Any, ClusterNode)(host, port) for host, port in target.hosts]
            common.pop("db")
            cluster: Any = redis_sync.RedisCluster
            return cast(
                redis_sync.Redis,
                cluster(startup_nodes=nodes, **common, **self._tls(), **_no_cluster_retries(cluster)),
            )
        if target.kind == "sentinel":
            watch = self._sentinel_options(read_timeout_s, Retry(NoBackoff(), 0))
            sentinel = cast(Any, Sentinel)(target.hosts, sentinel_kwargs=watch)
            return cast(redis_sync.Redis, sentinel.master_for(target.service, **common, **self._tls()))
        if target.kind == "unix":
            return redis_sync.Redis(unix_socket_path=target.path, **_without_keepalive(common))
        host, port = target.hosts[0]
        tls = self._tls()
        kind = ThreadedPrimarySSLConnection if tls.pop("ssl", False) else ThreadedPrimaryConnection
        pool = redis_sync.ConnectionPool(connection_class=kind, host=host, port=port, **common, **tls)
        return redis_sync.Redis.from_pool(pool)

    def _make_async(self, read_timeout_s: float, connections: int, purpose: str) -> redis_asyncio.Redis:
        target = self._target
        common = {**self._common(read_timeout_s, purpose), "retry": AsyncRetry(NoBackoff(), 0)}
        if target.kind == "cluster":
            nodes = [AsyncClusterNode(host, port) for host, port in target.hosts]
            common.pop("db")
            quiet = _no_cluster_retries(redis_asyncio.RedisCluster)
            cluster = cast(Any, _PatientCluster)(
                at_once=connections, startup_nodes=nodes, **common, **self._tls(), **quiet
            )
            return cast(redis_asyncio.Redis, cluster)
        limits = {"max_connections": connections, "timeout": POOL_WAIT_S}
        if target.kind == "sentinel":
            watch = self._sentinel_options(read_timeout_s, AsyncRetry(NoBackoff(), 0))
            sentinel = cast(Any, AsyncSentinel)(target.hosts, sentinel_kwargs=watch)
            client = sentinel.master_for(
                target.service, connection_pool_class=_BlockingSentinelPool, **limits, **common, **self._tls()
            )
            return cast(redis_asyncio.Redis, client)
        return redis_asyncio.Redis.from_pool(self._pool({**common, **limits}))

    def _pool(self, options: dict[str, Any]) -> redis_asyncio.BlockingConnectionPool:
        target = self._target
        if target.kind == "unix":
            return redis_asyncio.BlockingConnectionPool(
                connection_class=redis_asyncio.UnixDomainSocketConnection,
                path=target.path,
                **_without_keepalive(options),
            )
        host, port = target.hosts[0]
        tls = self._tls()
        kind = PrimarySSLConnection if tls.pop("ssl", False) else PrimaryConnection
        return redis_asyncio.BlockingConnectionPool(
            connection_class=kind, host=host, port=port, **options, **tls
        )

    def _common(self, read_timeout_s: float, purpose: str) -> dict[str, Any]:
        settings, target = self._settings, self._target
        name = "".join(c if c.isalnum() or c in "_-." else "_" for c in settings.service_name)
        return {
            "db": target.db,
            "username": target.username,
            "password": target.password,
            "protocol": 2,
            "decode_responses": False,
            "socket_timeout": read_timeout_s,
            "socket_connect_timeout": settings.redis_connect_timeout_s,
            "socket_keepalive": settings.redis_socket_keepalive,
            "socket_keepalive_options": self._probes(),
            # A blocking read is itself the check; a PING before each would double its commands.
            "health_check_interval": 0 if purpose == "blocking" else settings.redis_health_check_interval_s,
            "client_name": f"nooble-{name}-{purpose}",
        }

    def _probes(self) -> dict[int, int]:
        options = self._settings.redis_socket_keepalive_options
        if options is not None:
            return dict(options)
        return {getattr(socket, name): value for name, value in _PROBES.items() if hasattr(socket, name)}

    def _tls(self) -> dict[str, Any]:
        if not self._target.tls:
            return {}
        options: dict[str, Any] = {
            name: value for name, value in self._target.options.items() if name.startswith("ssl_")
        }
        checked = options.get("ssl_check_hostname", "true").lower()
        return {**options, "ssl": True, "ssl_check_hostname": checked not in ("false", "no", "0")}

    def _sentinel_options(self, read_timeout_s: float, retry: object) -> dict[str, Any]:
        options = self._common(min(read_timeout_s, self._settings.redis_socket_timeout_s), "sentinel")
        options |= {
            "db": 0,
            "username": self._target.options.get("sentinel_username"),
            "password": self._target.options.get("sentinel_password"),
            "client_name": None,
            "retry": retry,
        }
        return {**options, **self._tls()}


async def close_async(client: redis_asyncio.Redis) -> None:
    """Close a client and what it holds: its pool, and its connections to sentinels."""
    await client.aclose()
    for sentinel in _sentinels_of(client):
        await sentinel.aclose()


def close_threaded(client: redis_sync.Redis) -> None:
    """The same for a client without asyncio."""
    client.close()
    for sentinel in _sentinels_of(client):
        sentinel.close()


def _sentinels_of(client: object) -> list[Any]:
    manager = getattr(getattr(client, "connection_pool", None), "sentinel_manager", None)
    return list(getattr(manager, "sentinels", ()))


def _without_keepalive(options: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if not name.startswith("socket_keepalive")}


def _no_cluster_retries(cluster: type) -> dict[str, int]:
    # redis-py 5 counts them apart from `retry`; later releases warn when this is given at all.
    if int(redis_sync.__version__.partition(".")[0]) >= 6:
        return {}
    known = inspect.signature(cluster).parameters
    return {"cluster_error_retry_attempts": 0} if "cluster_error_retry_attempts" in known else {}
