"""The server that everything in one run talks to, and what it has used."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import redis

from nooble_tasks.embedded import EmbeddedServer


class Usage(NamedTuple):
    """What a server has used since it started: CPU seconds and commands, those inside scripts included."""

    cpu_s: float
    commands: int


@contextmanager
def fresh_server(*, append_only: bool = False) -> Iterator[EmbeddedServer]:
    """A temporary server; without AOF unless asked, as the rivals' published figures are taken."""
    options = {} if append_only else {"appendonly": "no"}
    with EmbeddedServer("bench", persist=False, options=options) as server:
        yield server


def usage(url: str) -> Usage:
    """The server's counters now."""
    client = redis.Redis.from_url(url, protocol=2)
    try:
        info: Any = client.info()
        return Usage(info["used_cpu_user"] + info["used_cpu_sys"], info["total_commands_processed"])
    finally:
        client.close()


def flush(url: str) -> None:
    """Empty the server between two measurements."""
    client = redis.Redis.from_url(url, protocol=2)
    try:
        client.flushall()
    finally:
        client.close()


def commands(url: str) -> int:
    """How many commands the server has run, those inside scripts included (INFO commandstats)."""
    client = redis.Redis.from_url(url, protocol=2)
    try:
        stats: Any = client.info("commandstats")
        return sum(int(one["calls"]) for one in stats.values())
    finally:
        client.close()
