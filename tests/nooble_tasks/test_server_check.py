from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
import redis as redis_sync
import redis.asyncio as redis_asyncio

from nooble_tasks.embedded import EmbeddedServer
from nooble_tasks.server_check import ServerFinding, _judge, check_server


@pytest.fixture
def restore(redis_url: str) -> Iterator[None]:
    """Settings of the shared server come back after the test."""
    with redis_sync.Redis.from_url(redis_url, protocol=2, decode_responses=True) as client:
        former = client.config_get("maxmemory-policy", "appendonly")
        yield
        for name, value in former.items():
            client.config_set(name, value)


def codes(findings: list[ServerFinding]) -> list[str]:
    return [finding.code for finding in findings]


async def test_a_server_as_it_should_be_has_no_findings(redis: redis_asyncio.Redis, restore: None) -> None:
    await redis.config_set("appendonly", "yes")
    await redis.config_set("maxmemory-policy", "noeviction")
    assert await check_server(redis) == []


async def test_eviction_and_missing_persistence_are_found_errors_first(
    redis: redis_asyncio.Redis, restore: None
) -> None:
    await redis.config_set("appendonly", "no")
    await redis.config_set("maxmemory-policy", "allkeys-lru")
    eviction, persistence = await check_server(redis)
    assert (eviction.severity, eviction.code) == ("error", "eviction")
    assert "allkeys-lru" in str(eviction)
    assert "set maxmemory-policy noeviction" in str(eviction)
    assert (persistence.severity, persistence.code) == ("warning", "persistence")


async def test_a_replica_is_found(disposable_server: EmbeddedServer) -> None:
    async with redis_asyncio.Redis.from_url(disposable_server.url, protocol=2) as client:
        await client.replicaof("127.0.0.1", "1")
        assert "replica" in codes(await check_server(client))


@pytest.mark.parametrize(("hours", "found"), [(0, False), (-1, True), (1, True)])
async def test_clock_skew_is_found(redis: redis_asyncio.Redis, hours: int, found: bool) -> None:
    now = datetime.now(UTC) + timedelta(hours=hours)
    findings = [finding for finding in await check_server(redis, now) if finding.code == "clock_skew"]
    assert bool(findings) is found
    if found:
        assert f"{-hours * 3600:+d}" in findings[0].message.replace(".0", "").replace("3599.9", "3600")


async def test_without_the_right_to_ask_it_says_so(redis: redis_asyncio.Redis, redis_url: str) -> None:
    await redis.acl_setuser("narrow", enabled=True, nopass=True, commands=["+time", "+select"])
    try:
        async with redis_asyncio.Redis.from_url(
            redis_url, protocol=2, username="narrow", password="x"
        ) as client:
            assert codes(await check_server(client))[0] == "version"
    finally:
        await redis.acl_deluser("narrow")


@pytest.mark.parametrize(
    ("version", "fine"),
    [("6.2.14", True), ("7.0.15", True), ("10.1.0", True), ("6.0.9", False), ("5.0", False), ("?", False)],
)
def test_old_servers_are_refused(version: str, fine: bool) -> None:
    findings = _judge({"redis_version": version, "aof_enabled": 1}, expected_cluster=False)
    assert codes(findings) == ([] if fine else ["version"])


def test_a_cluster_must_be_addressed_as_one() -> None:
    info = {"redis_version": "7.2.0", "aof_enabled": 1, "cluster_enabled": 1}
    assert codes(_judge(info, expected_cluster=False)) == ["cluster"]
    assert codes(_judge(info, expected_cluster=True)) == []
