"""`nooble why`: what an action waits for, in one sentence and in figures."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .console import out, print_json
from .exits import EXPLAINED, OK
from .loops import run_async
from .operating import AsJson

if TYPE_CHECKING:
    from nooble_tasks._engine import Why

ActionId = Annotated[str, typer.Argument(metavar="ACTION_ID", help="As `nooble enqueue` prints it.")]
Domain = Annotated[str | None, typer.Option(help="Where it was sent; default: every domain on the server.")]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=EXPLAINED)(why)


def why(action_id: ActionId, domain: Domain = None, as_json: AsJson = False) -> int:
    """Say why an action has not started yet, where it runs, or how it ended.

    The first line is the answer. Below it: its place in its tenant's line, what binds it, what to look at
    first on top, and when schedules and limits let it start, slots being free. Times are UTC.

    nooble why 0198f0c2a7

    nooble why 0198f0c2a7 --domain embedding --json
    """
    found = run_async(_look(action_id, domain))
    if as_json:
        print_json(_to_dict(found))
    else:
        _show(found)
    return OK


async def _look(action_id: str, domain: str | None) -> Why:
    from .connection import connected

    async with connected() as client:
        await client.inspector.check(domains=[domain] if domain else [])
        return await client.inspector.why(action_id, domain)


def _show(found: Why) -> None:
    from rich.table import Table

    from nooble_tasks.logs import escape

    console = out()
    console.print(escape(found.sentence) + "\n", style="bold")
    rows = Table.grid(padding=(0, 2, 0, 0))
    rows.add_column(style="dim", no_wrap=True)
    rows.add_column(overflow="fold")
    for name, text in _rows(found):
        rows.add_row(name, escape(text))
    console.print(rows)


def _rows(found: Why) -> Iterator[tuple[str, str]]:
    def when(at_ms: int) -> str:
        return _when(at_ms, found.at_ms)

    yield "action", f"{found.action_type or '?'} of {found.tenant_id or '?'}, tier {found.tier or '?'}"
    yield "domain, state", f"{found.domain}, {found.state.value}"
    if found.enqueued_ms and not found.due_ms:
        yield "ready since", when(found.enqueued_ms)
    if found.ahead is not None:
        yield "before it", _before(found)
    for binding in found.causes:
        until = f", until {when(binding.until_ms)}" if binding.until_ms else ""
        yield binding.cause.value.replace("_", " "), f"{binding.text}{until}"
    if found.earliest_start_ms is not None:
        now = found.earliest_start_ms <= found.at_ms
        least = "" if found.earliest_exact else "after "
        yield "earliest start", "now" if now else f"{least}{when(found.earliest_start_ms)}"
    if found.worker:
        yield "worker", f"{found.worker}, lease until {when(found.lease_until_ms)}"
        yield "running since", f"{when(found.started_ms)}, attempt {found.attempt}"
    if found.deadline_ms:
        yield "deadline", when(found.deadline_ms)
    if found.unique_key:
        yield "unique key", f"{found.unique_key}: it keeps others with this key out until it ends"
    yield from _attempts(found)


def _attempts(found: Why) -> Iterator[tuple[str, str]]:
    from .figures import duration

    if found.reason:
        yield "reason", found.reason
    for error in found.errors:
        yield f"error of attempt {error.attempt}", f"{error.error or 'not told'}, on worker {error.worker}"
    for event in found.history:
        text = f"{event.outcome} {_when(event.at_ms, found.at_ms)}"
        if not event.attempt or (event.outcome == "expired" and not event.run_time_us):
            yield "end", text  # while it waited
        else:
            yield f"attempt {event.attempt}", f"{text}, ran {duration(event.run_time_us / 1_000)}"


def _before(found: Why) -> str:
    own = f"{found.ahead:,}" if found.ahead else "nothing"
    least = "" if found.ahead_exact else "at least "
    starts = f", about {found.starts_ahead:,} starts in all" if found.starts_ahead else ""
    return f"{least}{own} of its tenant{starts}"


def _when(at_ms: int, now_ms: int) -> str:
    from .figures import duration, moment

    away = at_ms - now_ms
    if away > 0:
        return f"{moment(at_ms)} (in {duration(away)})"
    return f"{moment(at_ms - at_ms % 1_000)} ({duration(-away)} ago)"


def _to_dict(found: Why) -> dict[str, Any]:
    causes = [{**binding._asdict(), "cause": binding.cause.value} for binding in found.causes]
    history = [event._asdict() for event in found.history]
    errors = [error._asdict() for error in found.errors]
    more = {"state": found.state.value, "causes": causes, "history": history, "errors": errors}
    return {**found._asdict(), **more}
