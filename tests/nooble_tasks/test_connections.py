"""Connections beside a client's pool: to the same server, never inheriting what would hurt."""

from __future__ import annotations

import pytest
import redis.asyncio as redis_asyncio
from redis.asyncio import Redis

from nooble_tasks import ConfigurationError
from nooble_tasks.connections import blocking_twin, threaded_twin
from nooble_tasks.redis_clients import BLOCKING_MARGIN_S


async def test_a_blocking_twin_talks_to_the_same_server_and_waits_longer(redis: Redis) -> None:
    twin = blocking_twin(redis, 7.0)
    try:
        await redis.set("key", "value")
        assert await twin.get("key") == b"value"
        options = twin.connection_pool.connection_kwargs
        assert options["socket_timeout"] == 7.0 + BLOCKING_MARGIN_S
        assert options["health_check_interval"] == 0
        assert options["retry"]._retries == 0
        assert twin.connection_pool is not redis.connection_pool
    finally:
        await twin.aclose(close_connection_pool=True)


async def test_a_threaded_twin_talks_to_the_same_server(redis: Redis) -> None:
    await redis.set("key", "value")
    twin = threaded_twin(redis, 0.5)
    try:
        assert twin.get("key") == b"value"
        assert twin.connection_pool.connection_kwargs["socket_timeout"] == 0.5
        assert twin.connection_pool.connection_kwargs["retry"]._retries == 0
    finally:
        twin.close()
        twin.connection_pool.disconnect()


async def test_credentials_database_and_tls_go_along() -> None:
    given = redis_asyncio.Redis.from_url(
        "rediss://me:secret@example.org:7000/3", protocol=2, ssl_cert_reqs="none"
    )
    options = threaded_twin(given, 1).connection_pool.connection_kwargs
    assert (options["host"], options["port"], options["db"]) == ("example.org", 7000, 3)
    assert (options["username"], options["password"], options["protocol"]) == ("me", "secret", 2)
    assert options["ssl_cert_reqs"] == "none"
    assert blocking_twin(given, 1).connection_pool.connection_class is redis_asyncio.SSLConnection
    await given.aclose()


def test_a_client_without_a_pool_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="Cluster"):
        blocking_twin(object(), 1)
