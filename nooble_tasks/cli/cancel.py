"""`nooble cancel`: take actions out of their lines, or stop them."""

from __future__ import annotations

from typing import Annotated

import typer

from .console import err, out, print_json, warn
from .exits import EXPLAINED, FAILED, OK, USAGE, Ended
from .loops import run_async
from .operating import AsJson, Where, Yes, ask, check

Ids = Annotated[list[str] | None, typer.Argument(metavar="[ACTION_ID]...", help="Which ones.")]
Tenant = Annotated[str, typer.Option(help="All of this tenant.")]
Tier = Annotated[str, typer.Option(help="All of this tier.")]
Type = Annotated[str, typer.Option("--type", help="All of this action type.")]
All = Annotated[bool, typer.Option("--all", help="All there are.")]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=EXPLAINED)(cancel)


def cancel(
    action_ids: Ids = None,
    tenant: Tenant = "",
    tier: Tier = "",
    action_type: Type = "",
    every: All = False,
    domain: Where = None,
    yes: Yes = False,
    as_json: AsJson = False,
) -> int:
    """Cancel actions that wait or run, and what they have sent. By filter it asks first.

    nooble cancel 0f3a9c1e5b

    nooble cancel --tenant acme --type embedding.generate --domain embedding

    nooble cancel --all --domain embedding --yes
    """
    by_filter = bool(tenant or tier or action_type or every)
    if bool(action_ids) == by_filter:
        raise Ended("which ones? give action ids, or a filter: --tenant, --tier, --type, --all", USAGE)
    check(domains=domain or [], tenant_id=tenant, tier=tier)
    if action_ids:
        return _by_id(action_ids, domain or [], as_json)
    ask("Cancel all actions that match?", yes=yes)
    try:
        report = run_async(_many(domain or [], tenant, tier, action_type, every))
    except KeyboardInterrupt:
        warn("interrupted: what was cancelled by then stays so; the same command goes on with the rest")
        raise
    if not any(report.values()):
        check(domains=domain or [], action_type=action_type)
    if as_json:
        print_json(report)
    else:
        told = f"{report['cancelled']} cancelled before they started"
        out().print(f"{told}, {report['told']} are being stopped, {report['over']} were over")
    return OK


def _by_id(action_ids: list[str], domains: list[str], as_json: bool) -> int:
    done = run_async(_some(action_ids, domains))
    if as_json:
        print_json({"cancelled": done})
    else:
        for action_id, found in done.items():
            out().print(f"{action_id}: {'cancelled' if found else 'over or unknown'}")
    return OK if all(done.values()) else FAILED


async def _some(action_ids: list[str], domains: list[str]) -> dict[str, bool]:
    from .connection import connected

    async with connected() as client:
        done = {}
        for action_id in action_ids:
            where: list[str | None] = [*domains] or [None]
            found = [await client.cancellations.one(action_id, domain=each) for each in where]
            done[action_id] = any(found)
        return done


async def _many(domains: list[str], tenant: str, tier: str, action_type: str, every: bool) -> dict[str, int]:
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    from .connection import connected

    columns = (SpinnerColumn(), TextColumn("{task.completed:,.0f} looked after"), TimeElapsedColumn())
    terminal = err().is_terminal
    async with connected() as client:
        with Progress(*columns, console=err(), transient=True, disable=not terminal) as bar:
            task = bar.add_task("cancel", total=None)
            report = await client.cancellations.many(
                domains=domains,
                tenant_id=tenant,
                tier=tier,
                action_type=action_type,
                everything=every,
                on_progress=lambda so_far: bar.update(task, completed=sum(so_far)),
            )
        return report._asdict()
