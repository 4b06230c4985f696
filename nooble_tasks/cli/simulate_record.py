"""`nooble simulate record`: a trace of what the queue really did, to be replayed under another policy."""

from __future__ import annotations

import asyncio
import csv
import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from .console import err, warn
from .exits import EXPLAINED, OK, Ended
from .loops import run_async

if TYPE_CHECKING:
    from nooble_tasks.client import BaseRedisClient

PAGE = 500
FOLLOW_EVERY_S = 0.25
AGAIN_S = 1.0

DomainName = Annotated[str, typer.Argument(metavar="DOMAIN", help="Whose history.")]
File = Annotated[str, typer.Argument(metavar="FILE", help="A CSV file to write; - for standard output.")]
Follow = Annotated[bool, typer.Option("--follow", help="Go on until Ctrl-C: a whole day.")]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=EXPLAINED)(record)


def record(domain: DomainName, file: File, follow: Follow = False) -> int:
    """Write a trace of a domain's history: one row per attempt that ended.

    The server keeps the newest 5 MB of events, some 40,000 attempts; --follow records as long as you like.

    nooble simulate record embedding day.csv --follow

    nooble simulate --policy tiers.toml --trace day.csv
    """
    rows = run_async(_record(domain, file, follow))
    err().print(f"{rows:,} attempts of {domain} written to {file}", style="dim")
    return OK


def _opened(file: str) -> AbstractContextManager[TextIO]:
    """Where the rows go."""
    if file == "-":
        return nullcontext(sys.stdout)
    try:
        return Path(file).open("w", encoding="utf-8", newline="")
    except OSError as error:
        raise Ended(f"{file}: cannot be written: {error.strerror or error}") from None


async def _record(domain: str, file: str, follow: bool) -> int:
    from .connection import connected

    async with connected() as client:
        history = History(domain)
        found = await history.more(client)
        if not found:
            await client.bus.registry.domains([domain])  # raises for a name nobody serves
        with _opened(file) as to:  # not before: it may hold an earlier record
            return await write(history, client, found, to, follow)


async def write(
    history: History, client: BaseRedisClient, found: list[list[Any]], to: TextIO, follow: bool
) -> int:
    """Rows as they come; how many, at the end."""
    writer = csv.writer(to, lineterminator="\n")
    writer.writerow(COLUMNS)
    rows = 0
    try:
        while True:
            writer.writerows(found)
            to.flush()
            rows += len(found)
            if not found and not follow:
                return rows
            if not found:
                await asyncio.sleep(FOLLOW_EVERY_S)
            found = await (_patiently(history, client) if follow else history.more(client))
    except asyncio.CancelledError:
        if not follow:
            raise
        return rows


async def _patiently(history: History, client: BaseRedisClient) -> list[list[Any]]:
    """Further rows; a server that restarts or fails over does not end the record of a day."""
    from redis.exceptions import ConnectionError as Disconnected
    from redis.exceptions import TimeoutError as TooSlow

    from nooble_tasks.errors import QueueUnavailable

    told = False
    while True:
        try:
            return await history.more(client)
        except (Disconnected, TooSlow, QueueUnavailable) as error:
            if not told:
                warn(f"{error}; tried again every {AGAIN_S:.0f} s")
            told = True
            await asyncio.sleep(AGAIN_S)


COLUMNS = ("arrival_ms", "tenant", "tier", "action_type", "run_ms", "outcome", "queue_ms", "attempt")


class History:
    """Reads a domain's event stream, a page at a time, and warns when it lost the thread."""

    def __init__(self, domain: str) -> None:
        self._domain = domain
        self._last: bytes | None = None
        self._ended_ms: dict[str, int] = {}

    async def more(self, client: BaseRedisClient) -> list[list[Any]]:
        """Rows of the next events that have outcomes; empty: there are no more yet."""
        key = client.bus.engine.keys.of("events", self._domain)
        while True:
            since = self._last or "-"
            entries: Any = await client.redis_client.xrange(key, since, "+", count=PAGE + 1)
            if entries and entries[0][0] == self._last:
                del entries[0]
            elif (
                entries and self._last
            ):  # the server keeps the newest 5 MB, and what was read last is not among them
                warn("events were dropped before they were read: rows are missing here")
            if not entries:
                return []
            self._last = entries[-1][0]
            lines = [line for _, fields in entries for line in fields[b"lines"].decode().split("\n")]
            rows = [self._row(line.split(" ")) for line in lines if line.startswith("outcome ")]
            if rows:
                return rows

    def _row(self, words: list[str]) -> list[Any]:
        """An attempt arrives when its action did; a further one when the one before it ended."""
        _, at_ms, action_id, action_type, scope, outcome, queue_ms, run_us, attempt, claimed_ms = words[:10]
        tenant, tier = scope.split(":")
        arrival_ms = int(claimed_ms) - int(queue_ms)
        if int(attempt) > 1:
            arrival_ms = self._ended_ms.pop(action_id, int(claimed_ms))
        if outcome in ("retry", "snoozed"):
            self._ended_ms[action_id] = int(at_ms)
        run_ms = round(int(run_us) / 1000)
        waited_ms = int(claimed_ms) - arrival_ms
        return [arrival_ms, tenant, tier, action_type, run_ms, outcome, waited_ms, int(attempt)]
