"""What about a Redis server would lose or stall actions, found at the start instead of on a bad day."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import redis.asyncio as redis_asyncio
from redis.exceptions import RedisError

from .delivery_errors import ServerRefused

if TYPE_CHECKING:
    from .settings import CommonAppSettings

OLDEST_VERSION = (6, 2)
MAX_SKEW_S = 1.0

Severity = Literal["error", "warning"]


class ServerFinding(NamedTuple):
    """One thing that is wrong with a server: an error loses actions, a warning may."""

    severity: Severity
    code: str
    message: str
    advice: str

    def __str__(self) -> str:
        return f"{self.message}; {self.advice}"


async def check_server(
    client: redis_asyncio.Redis,
    now: datetime | None = None,
    *,
    durability: str = "aof",
    min_replicas: int = 1,
) -> list[ServerFinding]:
    """Everything found on the server (on a cluster: on each primary), errors first; empty when all is well.

    What is wrong depends on what is promised: with `durability="memory"` nobody needs an append-only file,
    with "replicated" there must be `min_replicas` replicas. Reads INFO and TIME only, which managed services
    allow too.
    """
    findings: list[ServerFinding] = []
    for name, node in _nodes(client):
        info = await _info(client, node)
        judged = _judge(info, expected_cluster=node is not None)
        if durability == "memory":
            judged = [finding for finding in judged if finding.code != "persistence"]
        if durability == "replicated":
            judged += _too_few_replicas(info, min_replicas)
        findings.extend(finding._replace(message=f"{name}{finding.message}") for finding in judged)
        skew = await _skew_s(client, node, now)
        if abs(skew) > MAX_SKEW_S:
            findings.append(
                ServerFinding(
                    "warning",
                    "clock_skew",
                    f"{name}the server's clock is {skew:+.1f} s from this machine's",
                    "deadlines are compared across machines: let NTP set both clocks",
                )
            )
    return sorted(findings, key=lambda finding: finding.severity != "error")


def _judge(info: Mapping[str, Any], *, expected_cluster: bool) -> list[ServerFinding]:
    findings = []
    version = _version(str(info.get("redis_version", "")))
    if version < OLDEST_VERSION:
        wanted = ".".join(map(str, OLDEST_VERSION))
        findings.append(
            ServerFinding(
                "error",
                "version",
                f"the server speaks Redis {info.get('redis_version', 'of an unknown version')}",
                f"use Redis {wanted} or newer, or Valkey",
            )
        )
    policy = info.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        findings.append(
            ServerFinding(
                "error",
                "eviction",
                f"maxmemory-policy is {policy}: a full server would throw queues away",
                "set maxmemory-policy noeviction",
            )
        )
    if not int(info.get("aof_enabled", 0)):
        findings.append(
            ServerFinding(
                "warning",
                "persistence",
                "the append-only file is off: a crash loses what was accepted since the last snapshot",
                "set appendonly yes",
            )
        )
    if info.get("role", "master") != "master":
        findings.append(
            ServerFinding(
                "error",
                "replica",
                "the server is a read-only replica",
                "connect to its master, or use Sentinel",
            )
        )
    if int(info.get("cluster_enabled", 0)) and not expected_cluster:
        findings.append(
            ServerFinding(
                "error", "cluster", "the server is a cluster node", "write redis+cluster:// in the Redis URL"
            )
        )
    return findings


def _too_few_replicas(info: Mapping[str, Any], wanted: int) -> list[ServerFinding]:
    connected = int(info.get("connected_slaves", 0))
    if connected >= wanted:
        return []
    return [
        ServerFinding(
            "error",
            "replicas",
            f"{connected} of {wanted} replicas are connected: no enqueue can be confirmed",
            "start them, lower min_replicas, or set durability=aof",
        )
    ]


async def check_at_start(
    client: redis_asyncio.Redis, settings: CommonAppSettings, logger: logging.Logger
) -> None:
    """What a worker does about `check_server` before it takes work: warns, or raises ServerRefused."""
    if settings.server_check == "off":
        return
    try:
        found = await check_server(client, durability=settings.durability, min_replicas=settings.min_replicas)
    except (RedisError, OSError) as error:
        logger.warning("the server could not be checked: %s", error)
        return
    for finding in found:
        logger.warning("%s: %s", finding.severity, finding)
    if found and settings.server_check == "refuse":
        raise ServerRefused(
            f"this Redis server does not fit durability={settings.durability!r}: "
            f"{'; '.join(map(str, found))}. Or set server_check=warn",
            details={"found": [finding.code for finding in found]},
        )


def _nodes(client: redis_asyncio.Redis) -> list[tuple[str, Any]]:
    """A label and a target per server; None is the only one of a client that is no cluster."""
    if not isinstance(client, redis_asyncio.RedisCluster):
        return [("", None)]
    return [(f"{node.name}: ", node) for node in client.get_primaries()]


async def _info(client: Any, node: Any) -> Mapping[str, Any]:
    options = {} if node is None else {"target_nodes": node}
    try:
        found = await client.execute_command("INFO", **options)
    except RedisError as error:
        return {"redis_version": f"that refuses INFO ({error})"}
    # A cluster client answers by node name even when asked for one node.
    if node is not None and isinstance(found, Mapping) and set(found) == {node.name}:
        found = found[node.name]
    return found if isinstance(found, Mapping) else {}


async def _skew_s(client: Any, node: Any, now: datetime | None) -> float:
    options = {} if node is None else {"target_nodes": node}
    before = now or datetime.now(UTC)
    seconds, micros = await client.execute_command("TIME", **options)
    after = now or datetime.now(UTC)
    server = float(seconds) + float(micros) / 1e6
    # What the network took is not skew.
    if server < before.timestamp():
        return server - before.timestamp()
    return max(0.0, server - after.timestamp())


def _version(text: str) -> tuple[int, ...]:
    match = re.match(r"(\d+)\.(\d+)", text)
    return (int(match[1]), int(match[2])) if match else (0, 0)
