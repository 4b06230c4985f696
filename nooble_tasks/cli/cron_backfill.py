"""`nooble cron backfill`: enqueue what was due in a past range."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from .console import err, print_json, warn
from .cron import Domain, Id, cron
from .exits import EXPLAINED, OK
from .loops import run_async
from .operating import AsJson, By, Why, author

if TYPE_CHECKING:
    from nooble_tasks import Backfilled

Start = Annotated[str, typer.Option("--from", help="Such as 2030-01-31T00:00:00Z; included.")]
End = Annotated[str, typer.Option("--until", help="Written like --from; not included, not in the future.")]
Rate = Annotated[float, typer.Option(help="So many due times per second.")]


@cron.command(epilog=EXPLAINED)
def backfill(
    schedule: Id,
    start: Start,
    end: End,
    rate: Rate = 100.0,
    domain: Domain = None,
    why: Why = "",
    by: By = None,
    as_json: AsJson = False,
) -> int:
    """Enqueue what was due in a past range, the oldest first.

    Interrupt it whenever you like: the same command goes on where it stopped and does nothing twice.

    nooble cron backfill report.daily.acme --from 2030-01-01T00:00:00Z --until 2030-02-01T00:00:00Z --rate 10
    """
    first, last = _moment(start, "--from"), _moment(end, "--until")
    try:
        done = run_async(_with_bar(schedule, domain, first, last, rate, author(by), why))
    except KeyboardInterrupt:
        warn("interrupted: the same command goes on where it stopped")
        raise
    if as_json:
        print_json(done._asdict())
    else:
        print(f"{done.done:,} of {done.total:,} due times; {done.accepted:,} actions enqueued now")
    return OK


async def _with_bar(
    schedule: str, domain: str | None, start: datetime, end: datetime, rate: float, by: str, why: str
) -> Backfilled:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from .connection import connected

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    terminal = err().is_terminal
    async with connected() as client:
        where = domain or await client.schedules.domain_of(schedule)
        with Progress(*columns, console=err(), transient=True, disable=not terminal) as bar:
            task = bar.add_task("due times", total=None)
            return await client.schedules.backfill(
                where,
                schedule,
                start,
                end,
                rate=rate,
                by=by,
                why=why,
                on_progress=lambda each: bar.update(task, completed=each.done, total=each.total),
            )


def _moment(text: str, option: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{option} {text!r}: write 2030-01-31T09:00:00Z") from None
    if moment.tzinfo is None:
        raise typer.BadParameter(f"{option} {text!r} has no time zone; end it in Z for UTC")
    return moment.astimezone(UTC)


def register(app: typer.Typer) -> None:
    """Nothing to add to `nooble` itself: the command is one of `nooble cron`."""
