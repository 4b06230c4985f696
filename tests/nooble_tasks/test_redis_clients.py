from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable
from typing import Any

import pytest
import redis.asyncio as redis_asyncio
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from nooble_tasks import redis_clients
from nooble_tasks.errors import ConfigurationError
from nooble_tasks.redis_url import parse_redis_url
from nooble_tasks.settings import Settings
from tests.nooble_tasks.redis_servers import (
    awaited,
    hang_up_after,
    manager_of,
    one_sided_server,
    pop_from,
    silent_after,
    until_blocked,
)


class TestNothingIsInherited:
    """Whatever redis-py's defaults are in this release, ours hold."""

    async def test_commands(self, redis_url: str) -> None:
        async with manager_of(redis_url, redis_socket_timeout_s=7) as manager:
            connection = await manager.get_client().connection_pool.get_connection()
            try:
                assert connection.protocol == 2
                assert connection.socket_timeout == 7
                assert connection.socket_connect_timeout == 5
                assert connection.health_check_interval == 15
                assert connection.retry._retries == 0
                assert not connection.encoder.decode_responses
            finally:
                await manager.get_client().connection_pool.release(connection)

    def test_keepalive_finds_a_dead_peer_within_a_minute(self) -> None:
        options = redis_clients.ClientFactory(Settings(), parse_redis_url("redis://h"))._probes()
        if hasattr(socket, "TCP_KEEPIDLE"):
            idle, interval = options[socket.TCP_KEEPIDLE], options[socket.TCP_KEEPINTVL]
            assert idle + interval * options[socket.TCP_KEEPCNT] < 60

    def test_tls_checks_the_host_name_unless_told_otherwise(self) -> None:
        def tls(url: str) -> Any:
            return redis_clients.ClientFactory(Settings(), parse_redis_url(url))._tls()

        assert tls("rediss://h") == {"ssl": True, "ssl_check_hostname": True}
        assert not tls("rediss://h?ssl_check_hostname=false")["ssl_check_hostname"]
        assert tls("redis://h") == {}

    @pytest.mark.parametrize("purpose", ["commands", "blocking", "heartbeat"])
    async def test_no_client_repeats_a_command_whose_answer_was_lost(self, purpose: str) -> None:
        """The server hangs up after each LPOP: a second one would lose an element."""
        async with one_sided_server(hang_up_after(b"LPOP")) as (url, received), manager_of(url) as manager:
            pop: dict[str, Callable[[], Any]] = {
                "commands": lambda: manager.get_client().lpop("q"),
                "blocking": lambda: manager.blocking_client(1).lpop("q"),
                "heartbeat": lambda: asyncio.to_thread(manager.heartbeat_client().lpop, "q"),
            }
            with pytest.raises(RedisConnectionError):
                await pop[purpose]()
        assert sum(command.upper().count(b"LPOP") for command in received) == 1

    async def test_a_late_answer_is_not_repeated_either(self) -> None:
        async with (
            one_sided_server(silent_after(b"INCR")) as (url, received),
            manager_of(url, redis_socket_timeout_s=0.1) as manager,
        ):
            with pytest.raises(RedisTimeoutError):
                await manager.get_client().incr("n")
        assert sum(command.upper().count(b"INCR") for command in received) == 1


class TestBlocking:
    async def test_it_outlasts_the_commands_timeout(self, redis_url: str) -> None:
        async with manager_of(redis_url, redis_socket_timeout_s=0.1) as manager:
            blocking = manager.blocking_client(0.4)
            assert await pop_from(blocking, "nothing", 0.4) is None

    async def test_a_server_that_froze_is_noticed_soon_after(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(redis_clients, "BLOCKING_MARGIN_S", 0.2)
        async with one_sided_server(silent_after(b"BLPOP")) as (url, _), manager_of(url) as manager:
            began = time.monotonic()
            with pytest.raises(RedisTimeoutError):
                await pop_from(manager.blocking_client(0.1), "q", 0.1)
            assert 0.25 < time.monotonic() - began < 5

    async def test_a_reader_can_go_on_after_being_cancelled(
        self, redis_url: str, redis: redis_asyncio.Redis
    ) -> None:
        async with manager_of(redis_url, service_name="reader") as manager:
            blocking = manager.blocking_client(30)
            for round_ in range(3):
                reading = asyncio.create_task(pop_from(blocking, "q", 30))
                await until_blocked(redis, "nooble-reader-blocking")
                reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)
                await awaited(redis.rpush("other", round_))
                assert await pop_from(blocking, "other", 30) == (
                    b"other",
                    str(round_).encode(),
                )

    @pytest.mark.parametrize("timeout_s", [0, -1, 4_000, float("nan"), float("inf")])
    async def test_a_block_without_a_reasonable_end_is_refused(self, timeout_s: float) -> None:
        with pytest.raises(ConfigurationError, match="cannot be watched"):
            manager_of("redis://h").blocking_client(timeout_s)
