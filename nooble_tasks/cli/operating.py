"""What the operators' commands share: who, why, where, and asking before something drastic."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from .console import err, out, print_json
from .exits import USAGE, Ended
from .login import login
from .loops import run_async

if TYPE_CHECKING:
    from nooble_tasks.operating import Operator

Tenant = Annotated[str, typer.Argument(metavar="TENANT", help="Whom.")]
By = Annotated[str | None, typer.Option(help="Who does it; default: the login name.")]
Why = Annotated[str, typer.Option(help="Why; kept with the command, shown by `nooble why`.")]
Where = Annotated[
    list[str] | None, typer.Option("--domain", help="Only there, may be repeated; default: every domain.")
]
Unseen = Annotated[bool, typer.Option("--unseen", help="Also for a tenant that has left no trace yet.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@asynccontextmanager
async def operator() -> AsyncIterator[Operator]:
    """The operators' commands of the configured server."""
    from .connection import connected

    async with connected() as client:
        yield client.operator


def check(*, domains: Sequence[str] = (), tenant_id: str = "", tier: str = "", action_type: str = "") -> None:
    """Ends the command for a name that is not there, before anything is asked or done."""

    async def look() -> None:
        from .connection import connected

        async with connected() as client:
            await client.inspector.check(
                domains=domains, tenant_id=tenant_id, tier=tier, action_type=action_type
            )

    run_async(look())


def author(by: str | None) -> str:
    """Who gives the command."""
    return by or login()


def somebody_can_be_asked() -> bool:
    """Is there a terminal with somebody at it?"""
    return sys.stdin.isatty() and err().is_terminal


def ask(question: str, *, yes: bool) -> None:
    """Go on only with a yes: said on the command line, or on a terminal when asked. Else the command ends."""
    if yes:
        return
    if not somebody_can_be_asked():
        raise Ended(f"{question.rstrip('?')}: nobody can be asked here\nsay --yes to do it", USAGE)
    typer.confirm(question, abort=True, err=True)


def tell(done: str, domains: Sequence[str], *, as_json: bool, nothing: str = "", **more: object) -> None:
    """What was done, and where; `nothing` when it was so already."""
    if as_json:
        print_json({"done": done, "domains": list(domains), **more})
    elif domains:
        out().print(f"{done} in {', '.join(domains)}")
    else:
        out().print(nothing)
