"""`nooble simulate record`: a trace of what the queue really did, to be replayed under another policy."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from .console import err
from .exits import EXPLAINED, OK
from .loops import run_async

if TYPE_CHECKING:
    from nooble_tasks.client import BaseRedisClient

PAGE = 500
FOLLOW_EVERY_S = 1.0

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
    with _opened(file) as to:
        rows = run_async(_record(domain, to, follow))
    err().print(f"{rows:,} attempts of {domain} written to {file}", style="dim")
    return OK


@contextmanager
def _opened(file: str) -> Iterator[TextIO]:
    if file == "-":
        yield sys.stdout
        return
    with Path(file).open("w", encoding="utf-8", newline="") as opened:
        yield opened


async def _record(domain: str, to: TextIO, follow: bool) -> int:
    import asyncio

    from .connection import connected

    writer = csv.writer(to, lineterminator="\n")
    writer.writerow(COLUMNS)
    rows = 0
    async with connected() as client:
        history = History(domain)
        try:
            while True:
                found = await history.more(client)
                writer.writerows(found)
                to.flush()
                rows += len(found)
                if not found and not follow:
                    if not rows:
                        await client.bus.registry.domains([domain])  # raises for a name nobody serves
                    return rows
                if not found:
                    await asyncio.sleep(FOLLOW_EVERY_S)
        except asyncio.CancelledError:
            if not follow:
                raise
            return rows


COLUMNS = ("arrival_ms", "tenant", "tier", "action_type", "run_ms", "outcome", "queue_ms", "attempt")


class History:
    """Reads a domain's event stream, a page at a time."""

    def __init__(self, domain: str) -> None:
        self._domain = domain
        self._last = "-"
        self._ended_ms: dict[str, int] = {}

    async def more(self, client: BaseRedisClient) -> list[list[Any]]:
        """Rows of the next events that have outcomes; empty: there are no more yet."""
        key = client.bus.engine.keys.of("events", self._domain)
        while True:
            entries: Any = await client.redis_client.xrange(key, self._last, "+", count=PAGE)
            if not entries:
                return []
            self._last = f"({entries[-1][0].decode()}"
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
