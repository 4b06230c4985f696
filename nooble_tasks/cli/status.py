"""`nooble status`: how the queue stands, tier by tier."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from .console import out, print_json, warn
from .exits import EXPLAINED, OK
from .loops import run_async

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from nooble_tasks._engine import Engine

    from .status_sample import DomainStatus, TierStatus

Domains = Annotated[
    list[str] | None, typer.Argument(metavar="[DOMAIN]...", help="Default: every domain on the server.")
]
Watch = Annotated[
    bool | None, typer.Option("--watch/--once", "-w/-1", help="Keep it current; default on a terminal.")
]
Every = Annotated[float, typer.Option(min=0.1, help="Seconds between two looks.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON; with --watch one object per line.")]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=EXPLAINED)(status)


def status(domains: Domains = None, watch: Watch = None, every: Every = 1.0, as_json: AsJson = False) -> int:
    """Show what is ready, held, running and done, and how long it waited.

    ready: could start now. held: waits for a limit of its tenant. queue_time: from enqueue (or due) to
    start, of what ended in the last minute. paused: by operators, see `nooble operations`.

    nooble status

    nooble status embedding --once --json
    """
    if watch is None:
        watch = out().is_terminal and not as_json
    run_async(_show(domains or [], watch, every, as_json))
    return OK


async def _show(domains: list[str], watch: bool, every_s: float, as_json: bool) -> None:
    from redis.exceptions import RedisError

    from .connection import connected

    async with connected() as client:
        await client.inspector.check(domains=domains)
        engine = client.bus.engine
        if watch and not as_json and out().is_terminal:
            await _live(engine, domains, every_s)
            return
        while True:
            try:
                await _once(engine, domains, as_json)
            except (RedisError, OSError) as error:
                if not watch:
                    raise
                warn(_away(error))
            if not watch:
                return
            await asyncio.sleep(every_s)


def _away(error: Exception) -> str:
    """Who watches does so above all while something is wrong."""
    return f"Redis does not answer: {error}; it is asked again"


async def _once(engine: Engine, domains: Sequence[str], as_json: bool) -> None:
    from .status_sample import look

    found = await look(engine, domains)
    if as_json:
        print_json({"at_ms": engine.clock.now_ms(), "domains": [domain.to_dict() for domain in found]})
    else:
        out().print(render(found))


async def _live(engine: Engine, domains: Sequence[str], every_s: float) -> None:
    from redis.exceptions import RedisError
    from rich.live import Live
    from rich.text import Text

    from .status_sample import look

    with Live(render(await look(engine, domains)), console=out(), auto_refresh=False, screen=True) as live:
        while True:
            await asyncio.sleep(every_s)
            try:
                shown = render(await look(engine, domains))
            except (RedisError, OSError) as error:
                shown = Text(_away(error), style="red")
            live.update(shown, refresh=True)


def render(found: Sequence[DomainStatus]) -> RenderableType:
    """The table; without any domain, what to do."""
    from rich.text import Text

    if not found:
        return Text("No domain has been served on this server yet. Next step: start a worker, `nooble up`.")
    table = _empty_table()
    for domain in found:
        headings, cells = _headings(domain), [_cells(tier) for tier in domain.tiers]
        for row in range(max(len(headings), len(cells))):
            heading = headings[row] if row < len(headings) else ""
            last = row == max(len(headings), len(cells)) - 1
            table.add_row(heading, *(cells[row] if row < len(cells) else ()), end_section=last)
    return table


def _empty_table() -> Table:
    from rich import box
    from rich.table import Table

    gap = 0 if out().width < 100 else 2
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, gap, 0, 0))
    table.add_column("domain", no_wrap=True)
    table.add_column("tier", no_wrap=True)
    for name in ("ready", "held", "running", "done/s", "done", "dead", "queue\np50", "time\np99"):
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _headings(domain: DomainStatus) -> list[RenderableType]:
    """The domain's name and its own figures, one per row."""
    from rich.text import Text

    return [
        Text(domain.domain, style="bold"),
        Text(
            f"{domain.workers} worker{'' if domain.workers == 1 else 's'}",
            "dim" if domain.workers else "yellow",
        ),
        Text(f"{domain.sleepers} idle", style="dim"),
        Text(f"{domain.scheduled:,} scheduled", style="dim"),
        *([Text(f"{domain.paused:,} paused", style="yellow")] if domain.paused else []),
        *([Text(f"{domain.set_aside:,} set aside", style="yellow")] if domain.set_aside else []),
    ]


def _cells(tier: TierStatus) -> list[RenderableType]:
    from rich.text import Text

    from .figures import count, duration, rate

    return [
        tier.tier,
        count(tier.ready),
        Text(count(tier.held), style="yellow" if tier.held else ""),
        Text(count(tier.running), style="green" if tier.running else ""),
        rate(tier.done_per_s),
        count(tier.completed),
        Text(count(tier.dead), style="red" if tier.dead else ""),
        duration(tier.queue_ms_p50),
        duration(tier.queue_ms_p99),
    ]
