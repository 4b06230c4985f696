"""`nooble pause`, `nooble resume`, `nooble operations`: stop the starts of something, and see who did."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from .console import out, print_json
from .exits import EXPLAINED, OK, Ended
from .loops import run_async
from .operating import (
    AsJson,
    By,
    Where,
    Why,
    Yes,
    ask,
    author,
    check,
    operator,
    somebody_can_be_asked,
    tell,
)

if TYPE_CHECKING:
    from nooble_tasks._engine import Operation, Pause

pause = typer.Typer(
    no_args_is_help=True,
    help="Nothing of it starts until it is resumed; what runs goes on, what waits stays in line.\n\n"
    "A tenant is paused by `nooble tenant pause`.",
    epilog=EXPLAINED,
)
resume = typer.Typer(
    no_args_is_help=True,
    help="Let it start again, at once; ends what handlers said for it, too (backpressure).",
    epilog=EXPLAINED,
)

Tier = Annotated[str, typer.Argument(metavar="TIER", help="Such as free.")]
Domain = Annotated[str, typer.Argument(metavar="DOMAIN", help="Such as embedding.")]
Type = Annotated[str, typer.Argument(metavar="TYPE", help="An action type, such as embedding.generate.")]

UnseenType = Annotated[bool, typer.Option("--unseen", help="Also one that nobody has seen yet.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(pause, name="pause")
    app.add_typer(resume, name="resume")
    app.command(epilog=EXPLAINED)(operations)


@pause.command("tier", epilog=EXPLAINED)
def pause_tier(
    tier: Tier,
    why: Why = "",
    by: By = None,
    domain: Where = None,
    yes: Yes = False,
    as_json: AsJson = False,
) -> int:
    """Pause a tier: the other tiers go on. Asks first.

    nooble pause tier free --why "database is at its limit"

    nooble pause tier free --domain embedding --yes
    """
    check(domains=domain or [], tier=tier)
    ask(f"Start nothing of tier {tier} in {_where(domain)}?", yes=yes)
    return _pause(f"tier:{tier}", why, by, domain or [], as_json)


@pause.command("domain", epilog=EXPLAINED)
def pause_domain(
    domain: Domain, why: Why = "", by: By = None, yes: Yes = False, as_json: AsJson = False
) -> int:
    """Pause a whole domain: its workers claim nothing. Asks first.

    nooble pause domain embedding --why "index is being rebuilt" --yes
    """
    check(domains=[domain])
    ask(f"Start nothing in {domain}?", yes=yes)
    return _pause("domain", why, by, [domain], as_json)


@pause.command("type", epilog=EXPLAINED)
def pause_type(
    action_type: Type,
    why: Why = "",
    by: By = None,
    domain: Where = None,
    unseen: UnseenType = False,
    as_json: AsJson = False,
) -> int:
    """Pause an action type: the rest of each tenant's line goes on. Asks first when nobody has seen it yet.

    nooble pause type embedding.generate --why "the model is down"
    """
    from nooble_tasks.lookup_errors import UnknownActionType

    what = f"type:{action_type}"
    try:
        return _pause(what, why, by, domain or [], as_json, unseen=unseen)
    except UnknownActionType as error:
        if not somebody_can_be_asked():
            advice = "say --unseen to pause it before the first one comes"
            raise Ended(f"{error}\n{advice}", code=error.code) from None
        ask(f"{error}. Pause it all the same?", yes=False)
        return _pause(what, why, by, domain or [], as_json, unseen=True)


@resume.command("tier", epilog=EXPLAINED)
def resume_tier(
    tier: Tier, why: Why = "", by: By = None, domain: Where = None, as_json: AsJson = False
) -> int:
    """Resume a tier.

    nooble resume tier free
    """
    return _resume(f"tier:{tier}", why, by, domain or [], as_json)


@resume.command("domain", epilog=EXPLAINED)
def resume_domain(domain: Domain, why: Why = "", by: By = None, as_json: AsJson = False) -> int:
    """Resume a domain.

    nooble resume domain embedding --why "the index is there"
    """
    return _resume("domain", why, by, [domain], as_json)


@resume.command("type", epilog=EXPLAINED)
def resume_type(
    action_type: Type, why: Why = "", by: By = None, domain: Where = None, as_json: AsJson = False
) -> int:
    """Resume an action type: what was set aside is next in its lines, in order.

    nooble resume type embedding.generate
    """
    return _resume(f"type:{action_type}", why, by, domain or [], as_json)


@resume.command("limit", epilog=EXPLAINED)
def resume_limit(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A limit that action types share.")],
    why: Why = "",
    by: By = None,
    domain: Where = None,
    as_json: AsJson = False,
) -> int:
    """End what handlers said for a named limit (backpressure): the upstream can take more again.

    nooble resume limit openai --why "quota was raised"
    """
    return _resume(f"limit:{name}", why, by, domain or [], as_json)


def operations(
    domain: Where = None,
    count: Annotated[int, typer.Option("--count", "-n", min=1, max=10_000, help="So many at most.")] = 20,
    as_json: AsJson = False,
) -> int:
    """List what operators did: when, who, what, why; newest first. Also what is paused now.

    nooble operations

    nooble operations --domain embedding -n 100 --json
    """
    found, paused = run_async(_operations(domain or [], count))
    if as_json:
        print_json(
            {
                "operations": [{"domain": name, **each._asdict()} for name, each in found],
                "paused": [{"domain": name, **each._asdict()} for name, each in paused],
            }
        )
        return OK
    from .figures import moment
    from .tables import table

    if not found:
        out().print("No operator has done anything here yet.")
    else:
        made = table(["when", "domain", "who"], [], ["what", "why"])
        for name, each in found:
            made.add_row(moment(each.at_ms - each.at_ms % 1_000), name, each.by, each.did, each.why)
        out().print(made)
    for at, (name, pause_now) in enumerate(paused):
        because = f": {pause_now.why}" if pause_now.why else ""
        text = f"paused now in {name}: {pause_now.what}, by {pause_now.by}{because}"
        out().print(text if at else f"\n{text}", style="yellow")
    return OK


def _pause(
    what: str, why: str, by: str | None, domains: list[str], as_json: bool, *, unseen: bool = False
) -> int:
    async def act() -> list[str]:
        async with operator() as commands:
            return await commands.pause(what, by=author(by), why=why, domains=domains, unseen=unseen)

    done = run_async(act())
    tell(f"paused {_name(what)}", done, as_json=as_json, nothing=f"{_name(what)} was paused already")
    return OK


def _resume(what: str, why: str, by: str | None, domains: list[str], as_json: bool) -> int:
    async def act() -> list[str]:
        async with operator() as commands:
            return await commands.resume(what, by=author(by), why=why, domains=domains)

    done = run_async(act())
    nothing = "no domain was stopped" if what == "domain" else f"{_name(what)} was not stopped"
    tell(f"resumed {_name(what)}", done, as_json=as_json, nothing=nothing)
    return OK


async def _operations(
    domains: list[str], count: int
) -> tuple[list[tuple[str, Operation]], list[tuple[str, Pause]]]:
    async with operator() as commands:
        found = await commands.operations(domains=domains, count=count)
        paused = await commands.paused(domains=domains)
        return found, [(name, each) for name, some in paused.items() for each in some]


def _where(domains: list[str] | None) -> str:
    return ", ".join(domains) if domains else "every domain"


def _name(what: str) -> str:
    return "everything" if what == "domain" else what.replace(":", " ", 1)
