"""`nooble tenant register`, `move`, `unregister`, `drain`: a tenant's tier, and whether it takes new work."""

from __future__ import annotations

from typing import Annotated

import typer

from .console import err
from .exits import EXPLAINED, OK
from .loops import run_async
from .operating import AsJson, By, Tenant, Where, Why, author, operator, tell
from .tenant import tenant

Tier = Annotated[str | None, typer.Argument(metavar="TIER", help="Such as professional.")]
SameTier = Annotated[str | None, typer.Option("--tier", help="The same, by name.")]
End = Annotated[bool, typer.Option("--end", help="Take new actions again.")]
EVERYWHERE = ["every domain, those to come included"]


def register(app: typer.Typer) -> None:
    """Add the commands: they are `tenant`'s, which is added already."""


@tenant.command("register", epilog=EXPLAINED)
def register_tenant(
    name: Tenant,
    tier: Tier = None,
    same: SameTier = None,
    why: Why = "",
    by: By = None,
    domain: Where = None,
    as_json: AsJson = False,
) -> int:
    """Put a tenant on a tier, from its next action on. `tenant move` takes along what waits.

    nooble tenant register acme professional --why "contract 17"

    nooble tenant register acme enterprise --domain embedding
    """

    wanted = tier or same
    if wanted is None or (tier and same):
        raise typer.BadParameter(f"say once for which tier: nooble tenant register {name} professional")

    async def act() -> None:
        async with operator() as commands:
            await commands.register_tenant(name, wanted, by=author(by), why=why, domains=domain or [])

    run_async(act())
    tell(
        f"registered {name} for {wanted}", domain or EVERYWHERE, as_json=as_json, tenant_id=name, tier=wanted
    )
    return OK


@tenant.command(epilog=EXPLAINED)
def move(
    name: Tenant,
    tier: Annotated[str, typer.Argument(metavar="TIER", help="Such as professional.")],
    why: Why = "",
    by: By = None,
    domain: Where = None,
    as_json: AsJson = False,
) -> int:
    """Put a tenant on a tier together with what waits of it, in its order. What runs finishes where it is.

    A large backlog moves in steps, the tenant paused meanwhile. A move that is interrupted is ended by any
    worker.

    nooble tenant move acme professional --why "contract 17"
    """

    moved = run_async(_move(name, tier, why, by, domain or []))
    done = f"moved {name} to {tier}, {moved:,} waiting actions with it,"
    tell(done, domain or EVERYWHERE, as_json=as_json, tenant_id=name, tier=tier, moved=moved)
    return OK


async def _move(name: str, tier: str, why: str, by: str | None, domains: list[str]) -> int:
    async with operator() as commands:
        if not err().is_terminal:
            return await commands.move_tenant(name, tier, by=author(by), why=why, domains=domains)
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=err(), transient=True) as bar:
            task = bar.add_task(f"moving {name}", total=None)

            def note(moved: int, total: int) -> None:
                bar.update(task, completed=moved, total=total)

            return await commands.move_tenant(
                name, tier, by=author(by), why=why, domains=domains, on_progress=note
            )


@tenant.command(epilog=EXPLAINED)
def unregister(
    name: Tenant, why: Why = "", by: By = None, domain: Where = None, as_json: AsJson = False
) -> int:
    """Forget a tenant's tier: it counts as unregistered from its next action on.

    nooble tenant unregister acme
    """

    async def act() -> bool:
        async with operator() as commands:
            return await commands.unregister_tenant(name, by=author(by), why=why, domains=domain or [])

    where = (domain or EVERYWHERE) if run_async(act()) else []
    tell(f"unregistered {name}", where, as_json=as_json, nothing=f"{name} was not registered")
    return OK


@tenant.command(epilog=EXPLAINED)
def drain(
    name: Tenant,
    end: End = False,
    why: Why = "",
    by: By = None,
    domain: Where = None,
    as_json: AsJson = False,
) -> int:
    """Refuse new actions of a tenant; what waits is run, and what runs may be tried again.

    nooble tenant drain acme --why "leaves at the end of the month"

    nooble tenant drain acme --end
    """

    async def act() -> bool:
        async with operator() as commands:
            if end:
                return await commands.undrain_tenant(name, by=author(by), why=why, domains=domain or [])
            await commands.drain_tenant(name, by=author(by), why=why, domains=domain or [])
            return True

    where = (domain or EVERYWHERE) if run_async(act()) else []
    done = f"{name} takes new actions again" if end else f"{name} takes no new actions"
    tell(done, where, as_json=as_json, nothing=f"{name} was not draining")
    return OK
