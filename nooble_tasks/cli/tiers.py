"""`nooble tiers`: what each tier is promised, what it got, how long its actions waited."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from .console import out, print_json
from .exits import EXPLAINED, OK
from .loops import run_async
from .operating import AsJson

if TYPE_CHECKING:
    from nooble_tasks._engine import TierStanding

Domains = Annotated[
    list[str] | None, typer.Argument(metavar="[DOMAIN]...", help="Default: every domain on the server.")
]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=EXPLAINED)(tiers)


def tiers(domains: Domains = None, as_json: AsJson = False) -> int:
    """Show the tiers of the published policy, best priority first.

    share: of all starts, given in the last minute / guaranteed while the tier has work. weight and limits
    hold for each of its tenants, unless they say all together. p50, p99: how long first attempts had
    waited, of what ended in the last minute. Narrow terminals leave weight and limits out.

    nooble tiers

    nooble tiers embedding --json
    """
    found = run_async(_look(domains or []))
    if as_json:
        print_json({"tiers": [each._asdict() for each in found]})
    else:
        _show(found)
    return OK


async def _look(domains: list[str]) -> list[TierStanding]:
    from .connection import connected

    async with connected() as client:
        inspector = client.inspector
        where = await inspector.check(domains=domains)
        return [tier for each in where for tier in await inspector.tiers(each)]


def _show(found: Sequence[TierStanding]) -> None:
    from .figures import count, duration
    from .tables import marked, table, wide

    if not found:
        out().print("No worker has served this yet: nothing is published. Next step: start one, `nooble up`.")
        return
    numbers = ["#", "share", "weight", "ready", "held", "running", "p50", "p99"]
    if not wide():
        numbers.remove("weight")
    made = table(["domain", "tier"], numbers, ["limits"] if wide() else [])
    for each in found:
        together = [f"{name} all together" for name in each.tier_limits]
        limits = [
            *each.limits,
            *together,
            *([f"{each.max_concurrency} at once"] if each.max_concurrency else []),
        ]
        made.add_row(
            each.domain,
            marked(each.tier, "yellow", each.paused),
            str(each.rank),
            _share(each),
            *([f"{each.weight:g}"] if wide() else []),
            count(each.ready),
            marked(count(each.held), "yellow", each.held),
            marked(count(each.running), "green", each.running),
            duration(each.queue_ms_p50),
            duration(each.queue_ms_p99),
            *([", ".join(limits) or "none"] if wide() else []),
        )
    out().print(made)
    for at, each in enumerate(tier for tier in found if tier.paused or tier.held_why):
        out().print("\n" * (not at) + _stopped(each), style="yellow")


def _stopped(each: TierStanding) -> str:
    from .figures import duration, moment

    if each.paused:
        return f"paused now in {each.domain}: {each.tier}, {each.paused}"
    text = f"held now in {each.domain}: {each.tier}, {each.held_why}"
    if each.held_until_ms is None:
        return text
    return (
        f"{text}, until {moment(each.held_until_ms)}, in {duration(max(each.held_until_ms - each.at_ms, 0))}"
    )


def _share(each: TierStanding) -> str:
    given = "–" if each.share_given is None else f"{each.share_given:.0%}"
    return f"{given} / {each.share_guaranteed:.0%}"
