"""`nooble dead`: look at dead letters, put them back in line, or delete them."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from .console import err, print_json
from .dead_view import show_letter, show_list, to_dict
from .dead_work import Work, check_type, meant
from .exits import EXPLAINED, FAILED, OK, USAGE, Ended
from .loops import run_async
from .operating import AsJson, By, Why, Yes, author

if TYPE_CHECKING:
    from nooble_tasks._engine import DeadLetter, OpenedLetter
    from nooble_tasks.dead_letters import LetterQuery, LetterReport

    Act = Callable[..., Awaitable[LetterReport]]

dead = typer.Typer(
    no_args_is_help=True,
    help="Actions that ended without a result, kept per tenant with their payload and their errors.",
    epilog=EXPLAINED,
)

Ids = Annotated[list[str] | None, typer.Argument(metavar="ID", help="Action ids or letter ids.")]
Domain = Annotated[str | None, typer.Option(help="Only there; default: every domain on the server.")]
Tenant = Annotated[str | None, typer.Option("--tenant", "-t", help="Only of this tenant.")]
ActionType = Annotated[str | None, typer.Option("--type", help="Only of this action type; may end in *.")]
Reason = Annotated[str | None, typer.Option(help="Only with this text in the reason, in any case.")]
Since = Annotated[str | None, typer.Option(help="Only younger: 30m, 2h, 7d, or 2030-01-31T09:00:00Z.")]
Until = Annotated[str | None, typer.Option(help="Only older, written like --since.")]
Limit = Annotated[int, typer.Option(min=0, help="So many at most; 0 for all.")]
Everything = Annotated[bool, typer.Option("--all", help="All of them, when nothing else says which.")]
Rate = Annotated[str | None, typer.Option(help="Not all at once but so many: 50/s, 10/m, 600/h.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say how many are meant.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(dead, name="dead")


@dead.command("list", epilog=EXPLAINED)
def list_letters(
    domain: Domain = None,
    tenant: Tenant = None,
    action_type: ActionType = None,
    reason: Reason = None,
    since: Since = None,
    until: Until = None,
    limit: Limit = 100,
    as_json: AsJson = False,
) -> int:
    """List dead letters, the newest of each tenant first.

    nooble dead list

    nooble dead list --tenant acme --reason timeout --since 2h --json
    """
    query = _query(tenant, action_type, reason, since, until)
    found, counts = run_async(_list(domain, query, limit))
    if as_json:
        letters = [{"domain": name, **letter._asdict()} for name, letter in found]
        print_json({"letters": letters, "total": sum(counts.values())})
        return OK
    if found:
        show_list(found)
    total = sum(counts.values())
    err().print(f"{len(found):,} of {total:,} dead letters" if total else "no dead letters", style="dim")
    return OK


@dead.command(epilog=EXPLAINED)
def show(
    letter: Annotated[str, typer.Argument(metavar="ID", help="An action id or a letter id.")],
    domain: Domain = None,
    tenant: Tenant = None,
    as_json: AsJson = False,
) -> int:
    """Show one dead letter: why it is dead, every failed attempt, the action as it was sent.

    nooble dead show 0197f2c1d0a87c3b9a51

    nooble dead show 1750000000000-0 --tenant acme --json
    """
    where, opened = run_async(_open(letter, domain, tenant))
    if as_json:
        print_json({"domain": where, **to_dict(opened)})
    else:
        show_letter(where, opened)
    return OK


@dead.command(epilog=EXPLAINED)
def redrive(
    ids: Ids = None,
    domain: Domain = None,
    tenant: Tenant = None,
    action_type: ActionType = None,
    reason: Reason = None,
    since: Since = None,
    until: Until = None,
    everything: Everything = False,
    rate: Rate = None,
    dry_run: DryRun = False,
    why: Why = "",
    by: By = None,
    as_json: AsJson = False,
) -> int:
    """Put dead letters back in line, the oldest first, with all their attempts anew.

    Interrupt it whenever you like: a letter is either still there or back in line, never both.

    nooble dead redrive 0197f2c1d0a87c3b9a51

    nooble dead redrive --reason "connection refused" --since 2h --rate 50/s
    """
    query = _query(tenant, action_type, reason, since, until)
    options = {"rate_per_s": _per_second(rate), "everything": everything, "by": author(by), "why": why}
    work = Work("redriven", "redrive", ids or [], domain, query, options)
    return work.run(dry_run=dry_run, as_json=as_json)


@dead.command(epilog=EXPLAINED)
def discard(
    ids: Ids = None,
    domain: Domain = None,
    tenant: Tenant = None,
    action_type: ActionType = None,
    reason: Reason = None,
    since: Since = None,
    until: Until = None,
    everything: Everything = False,
    dry_run: DryRun = False,
    yes: Yes = False,
    why: Why = "",
    by: By = None,
    as_json: AsJson = False,
) -> int:
    """Delete dead letters for good.

    nooble dead discard --tenant acme --type "report.*" --dry-run

    nooble dead discard --until 7d --yes
    """
    query = _query(tenant, action_type, reason, since, until)
    work = Work(
        "discarded",
        "discard",
        ids or [],
        domain,
        query,
        {"everything": everything, "by": author(by), "why": why},
    )
    if not dry_run and not yes and not (ids and err().is_terminal):
        many = run_async(work.count())
        if many and not err().is_terminal:
            message = f"{many:,} dead letters would be deleted for good"
            raise Ended(f"{message}\nsay --yes, or look first with --dry-run", USAGE)
        if many and not typer.confirm(f"Delete {many:,} dead letters for good?", err=True):
            return FAILED
    return work.run(dry_run=dry_run, as_json=as_json)


async def _list(
    domain: str | None, query: LetterQuery, limit: int
) -> tuple[list[tuple[str, DeadLetter]], dict[str, int]]:
    from .connection import connected

    async with connected() as client:
        found: list[tuple[str, DeadLetter]] = []
        counts: dict[str, int] = {}
        where = await meant(client, domain, query.get("tenant_id"))
        for name in where:
            letters = client.dead_letters
            counts[name] = sum((await letters.count(name)).values())
            left = limit - len(found) if limit else counts[name]
            if left > 0 and counts[name]:
                found += [(name, letter) for letter in await letters.list(name, limit=left, **query)]
        if not found:
            await check_type(client, where, query.get("action_type"))
        return found, counts


async def _open(letter: str, domain: str | None, tenant: str | None) -> tuple[str, OpenedLetter]:
    from nooble_tasks.delivery_errors import UnknownLetter

    from .connection import connected

    async with connected() as client:
        for name in await meant(client, domain, tenant):
            try:
                return name, await client.dead_letters.show(name, letter, tenant_id=tenant)
            except UnknownLetter:
                continue
    raise UnknownLetter(f"there is no dead letter {letter!r}; `nooble dead list` shows those there are")


_DURATION = re.compile(r"(\d+(?:\.\d+)?)([smhd])").fullmatch
_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_RATE = re.compile(r"(\d+(?:\.\d+)?)(?:/([smh])[a-z]*)?").fullmatch


def _query(
    tenant: str | None, action_type: str | None, reason: str | None, since: str | None, until: str | None
) -> LetterQuery:
    return {
        "tenant_id": tenant,
        "action_type": action_type,
        "reason": reason,
        "since": _when(since, "--since"),
        "until": _when(until, "--until"),
    }


def _when(text: str | None, option: str) -> datetime | timedelta | None:
    if text is None:
        return None
    match = _DURATION(text)
    if match:
        return timedelta(seconds=float(match[1]) * _SECONDS[match[2]])
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{option} {text!r}: write 30m, 2h, 7d or 2030-01-31T09:00:00Z") from None
    if moment.tzinfo is None:
        raise typer.BadParameter(f"{option} {text!r} has no time zone; end it in Z for UTC")
    return moment


def _per_second(text: str | None) -> float | None:
    if text is None:
        return None
    match = _RATE(text)
    if not match or not float(match[1]):
        raise typer.BadParameter(f"--rate {text!r}: write 50/s, 10/m or 600/h")
    return float(match[1]) / _SECONDS[match[2] or "s"]
