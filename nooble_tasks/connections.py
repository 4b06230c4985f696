"""Connections beside a given client's pool: one to block on, one for a thread.

A blocking read needs a socket timeout longer than its block and must never be repeated by the client
library; a heartbeat must not depend on the event loop. Both go to the server the given client talks to.
"""

from __future__ import annotations

from typing import Any

import redis as redis_sync
import redis.asyncio as redis_asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry
from redis.sentinel import Sentinel

from .errors import ConfigurationError
from .primaries import ThreadedPrimaryConnection, ThreadedPrimarySSLConnection
from .redis_clients import BLOCKING_MARGIN_S

_PLAIN_OPTIONS = (
    "host",
    "port",
    "path",
    "db",
    "username",
    "password",
    "protocol",
    "socket_connect_timeout",
    "socket_keepalive",
    "socket_keepalive_options",
    "client_name",
)


def blocking_twin(client: Any, block_s: float) -> redis_asyncio.Redis:
    """A client to the same server with connections of its own, for reads that block up to ``block_s``."""
    pool = _pool_of(client)
    options = dict(pool.connection_kwargs)
    options |= {
        "socket_timeout": block_s + BLOCKING_MARGIN_S,
        "retry": AsyncRetry(NoBackoff(), 0),
        "health_check_interval": 0,
        "max_connections": 4,
    }
    if hasattr(pool, "sentinel_manager"):
        options.pop("connection_pool", None)
        twin = type(pool)(pool.service_name, pool.sentinel_manager, is_master=pool.is_master, **options)
        return redis_asyncio.Redis.from_pool(twin)
    twin = redis_asyncio.ConnectionPool(connection_class=pool.connection_class, **options)
    return redis_asyncio.Redis.from_pool(twin)


def threaded_twin(client: Any, read_timeout_s: float) -> redis_sync.Redis:
    """A client without asyncio to the same server, for a thread. `close_threaded` closes it."""
    pool = _pool_of(client)
    given = pool.connection_kwargs
    options = {name: given[name] for name in _PLAIN_OPTIONS if given.get(name) is not None}
    options |= {
        "socket_timeout": read_timeout_s,
        "retry": Retry(NoBackoff(), 0),
        "health_check_interval": 0,
        "max_connections": 2,
    }
    over_tls = issubclass(pool.connection_class, redis_asyncio.SSLConnection)
    tls = _tls_of(given) if over_tls else {}
    if hasattr(pool, "sentinel_manager"):
        return _behind_sentinels(pool, options, {**tls, "ssl": True} if over_tls else {})
    kind: Any = ThreadedPrimarySSLConnection if over_tls else ThreadedPrimaryConnection
    if "path" in options:
        kind = redis_sync.UnixDomainSocketConnection
    return redis_sync.Redis(
        connection_pool=redis_sync.ConnectionPool(connection_class=kind, **options, **tls)
    )


def _behind_sentinels(pool: Any, options: dict[str, Any], tls: dict[str, Any]) -> redis_sync.Redis:
    """Asks the same sentinels for the primary whenever it connects: after a failover it is another."""
    manager = pool.sentinel_manager
    watches = [sentinel.connection_pool.connection_kwargs for sentinel in manager.sentinels]
    asking: dict[str, Any] = {
        name: value
        for name, value in manager.sentinel_kwargs.items()
        if name in _PLAIN_OPTIONS and value is not None
    }
    if manager.sentinel_kwargs.get("ssl"):
        asking |= {**_tls_of(manager.sentinel_kwargs), "ssl": True}
    asking |= {"socket_timeout": options["socket_timeout"], "retry": Retry(NoBackoff(), 0)}
    making: Any = Sentinel
    sentinel = making(
        [(watch["host"], watch["port"]) for watch in watches],
        min_other_sentinels=manager.min_other_sentinels,
        sentinel_kwargs=asking,
    )
    client: redis_sync.Redis = sentinel.master_for(pool.service_name, **options, **tls)
    return client


def _tls_of(options: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if name.startswith("ssl_")}


def _pool_of(client: Any) -> Any:
    pool = getattr(client, "connection_pool", None)
    if pool is None:
        raise ConfigurationError(
            "a Redis Cluster client has no single connection pool; workers and waiting callers need a "
            "standalone, Sentinel or unix-socket URL for now"
        )
    return pool
