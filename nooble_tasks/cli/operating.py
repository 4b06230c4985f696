"""What the operators' commands share: who, why, where, and asking before something drastic."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from .console import complain, err, out, print_json
from .exits import USAGE
from .login import login

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


def author(by: str | None) -> str:
    """Who gives the command."""
    return by or login()


def ask(question: str, *, yes: bool) -> None:
    """Go on only with a yes: said on the command line, or on a terminal when asked. Else the command ends."""
    if yes:
        return
    if not (sys.stdin.isatty() and err().is_terminal):
        complain(f"{question.rstrip('?')}: nobody can be asked here\nsay --yes to do it")
        raise typer.Exit(USAGE)
    typer.confirm(question, abort=True, err=True)


def tell(done: str, domains: Sequence[str], *, as_json: bool, nothing: str = "", **more: object) -> None:
    """What was done, and where; `nothing` when it was so already."""
    if as_json:
        print_json({"done": done, "domains": list(domains), **more})
    elif domains:
        out().print(f"{done} in {', '.join(domains)}")
    else:
        out().print(nothing)
