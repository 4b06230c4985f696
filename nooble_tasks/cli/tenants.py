"""`nooble tenants`: who waits, who is held and why, who runs the most."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from nooble_tasks._engine import SortBy

from .console import out, print_json
from .exits import EXPLAINED, OK
from .loops import run_async
from .operating import AsJson

if TYPE_CHECKING:
    from nooble_tasks._engine import TenantRow, Tenants

Domains = Annotated[
    list[str] | None, typer.Argument(metavar="[DOMAIN]...", help="Default: every domain on the server.")
]
Tier = Annotated[str | None, typer.Option(help="Only tenants of that tier.")]
Sort = Annotated[SortBy, typer.Option(help="Most first; oldest: the longest wait, looks at every line.")]
Top = Annotated[int, typer.Option("--top", "-n", min=1, max=10_000, help="How many of each domain.")]
Held = Annotated[bool, typer.Option("--held", help="Only tenants that a limit holds.")]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=EXPLAINED)(tenants)


def tenants(
    domains: Domains = None,
    tier: Tier = None,
    sort: Sort = SortBy.WAITING,
    top: Top = 20,
    held: Held = False,
    as_json: AsJson = False,
) -> int:
    """Show the tenants with the most waiting, running or started, and what holds them.

    waits: how long the next action of the line has been ready. started: attempts that began and ended
    within the last minute. held: the limit that binds, and when it frees; of the tenant itself, else of its
    (tier) or (domain). set aside: actions of a paused type, besides those waiting.

    nooble tenants

    nooble tenants embedding --tier free --sort oldest --top 5

    nooble tenants --held --json
    """
    found = run_async(_look(domains or [], tier, sort, top, held))
    if as_json:
        print_json({"domains": [_to_dict(each) for each in found]})
    else:
        _show(found, sort)
    return OK


async def _look(domains: list[str], tier: str | None, sort: SortBy, top: int, held: bool) -> list[Tenants]:
    from .connection import connected

    async with connected() as client:
        inspector = client.inspector
        return [
            await inspector.tenants(each, tier=tier, sort=sort, top=top, held_only=held)
            for each in await inspector.check(domains=domains)
        ]


def _show(found: Sequence[Tenants], sort: SortBy) -> None:
    from .tables import marked, table

    if not found:
        out().print("No domain has been served on this server yet. Next step: start a worker, `nooble up`.")
    for each in found:
        out().print(_title(each, sort), style="bold")
        if each.rows:
            made = table(["tenant", "tier"], ["waiting", "running", "started", "waits"], ["held"])
            for row in each.rows:
                made.add_row(*_figures(row, each.at_ms), marked(_held(row, each.at_ms), "yellow"))
            out().print(made)
        if _somebody_waits(each) and not each.workers:
            out().print(f"\nno worker serves {each.domain}: start one (nooble worker)", style="yellow")


def _somebody_waits(found: Tenants) -> bool:
    """Whether anybody shown waits."""
    return any(row.waiting or row.set_aside for row in found.rows)


def _title(found: Tenants, sort: SortBy) -> str:
    if not found.total:
        return f"{found.domain}: no tenant has anything to do"
    order = "longest wait first" if sort is SortBy.OLDEST else f"most {sort.value} first"
    if not found.truncated:
        return f"{found.domain}: {found.total:,} tenant{'' if found.total == 1 else 's'}, {order}"
    compared = f"; only {found.looked_at:,} were compared" if found.looked_at < found.total else ""
    shown = f"{len(found.rows):,} of {found.total:,} tenants"
    return f"{found.domain}: {shown}, {order}{compared} (--top shows more)"


def _figures(row: TenantRow, at_ms: int) -> list[str]:
    from .figures import DASH, count, duration

    waits = duration(max(at_ms - row.oldest_ms, 0)) if row.oldest_ms else DASH
    return [row.tenant_id, row.tier, *map(count, (row.waiting, row.running, row.started)), waits]


def _held(row: TenantRow, at_ms: int) -> str:
    """What binds the line, then what left it because its type is paused."""
    from .figures import count, duration

    told = [row.held_why] if row.held_why else []
    if told and row.held_until_ms is not None:
        told = [f"{row.held_why}, {duration(max(row.held_until_ms - at_ms, 0))}"]
    if row.set_aside:
        types = ", ".join(row.set_aside_types[:2]) + (" …" if len(row.set_aside_types) > 2 else "")
        told.append(f"{count(row.set_aside)} set aside: {types} paused")
    return "; ".join(told)


def _to_dict(found: Tenants) -> dict[str, object]:
    rows = [row._asdict() for row in found.rows]
    return {**found._asdict(), "rows": rows, "truncated": found.truncated}
