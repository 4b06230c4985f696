"""`nooble tenant`: one tenant's standing, and what operators set for it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .console import out, print_json
from .exits import EXPLAINED, OK
from .loops import run_async
from .operating import AsJson, By, Tenant, Unseen, Where, Why, author, operator, tell

if TYPE_CHECKING:
    from nooble_tasks._engine import Override
    from nooble_tasks.operating import TenantStanding

tenant = typer.Typer(
    no_args_is_help=True,
    help="One tenant: how it stands, its tier, rules of its own in place of its tier's, pause and drain.\n\n"
    "In force at the next claim, without restart; outranks what is published later.",
    epilog=EXPLAINED,
)

Rule = Annotated[
    list[str] | None,
    typer.Argument(metavar="[RULE]...", help="weight, limits, max-concurrency, time-zone; else all."),
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(tenant, name="tenant")


@tenant.command(epilog=EXPLAINED)
def show(name: Tenant, domain: Where = None, as_json: AsJson = False) -> int:
    """Show how a tenant stands, and what operators have set for it, by whom and why.

    nooble tenant show acme

    nooble tenant show acme --json
    """

    async def look() -> list[TenantStanding]:
        async with operator() as commands:
            return await commands.tenant(name, domains=domain or [])

    found = run_async(look())
    if as_json:
        print_json({"tenant_id": name, "domains": [_to_dict(each) for each in found]})
    else:
        _show(found)
    return OK


@tenant.command("set", epilog=EXPLAINED)
def set_rules(
    name: Tenant,
    weight: Annotated[float | None, typer.Option(help="2 gets twice the share of 1.")] = None,
    limit: Annotated[
        list[str] | None, typer.Option(help="Such as 100/minute, may be repeated; in place of its tier's.")
    ] = None,
    no_limits: Annotated[bool, typer.Option("--no-limits", help="No limit binds it.")] = False,
    max_concurrency: Annotated[int | None, typer.Option(help="So many at once; 0: any number.")] = None,
    time_zone: Annotated[
        str | None, typer.Option(help="Where its quotas of a day or longer begin, such as Europe/Madrid.")
    ] = None,
    why: Why = "",
    by: By = None,
    domain: Where = None,
    unseen: Unseen = False,
    as_json: AsJson = False,
) -> int:
    """Give a tenant rules of its own in place of its tier's. What is not said stays as it was.

    nooble tenant set acme --limit 100/minute --limit 5000/day --why "contract 17"

    nooble tenant set acme --weight 2 --domain embedding

    nooble tenant set acme --time-zone Europe/Madrid
    """
    if limit and no_limits:
        raise typer.BadParameter("--limit and --no-limits exclude each other")
    if weight is None and not limit and not no_limits and max_concurrency is None and time_zone is None:
        raise typer.BadParameter(
            "say what to set: --weight, --limit, --no-limits, --max-concurrency or --time-zone"
        )
    rules: dict[str, Any] = {
        "weight": weight,
        "limits": [] if no_limits else limit,
        "max_concurrency": max_concurrency,
        "time_zone": time_zone,
        "unseen": unseen,
    }
    return _do(f"set the rules of {name}", "set_tenant", name, why, by, domain, as_json, **rules)


@tenant.command(epilog=EXPLAINED)
def clear(
    name: Tenant,
    rules: Rule = None,
    why: Why = "",
    by: By = None,
    domain: Where = None,
    as_json: AsJson = False,
) -> int:
    """Let the tenant's tier decide again; a pause stays.

    nooble tenant clear acme

    nooble tenant clear acme limits --why "contract 17 has ended"
    """
    more: dict[str, Any] = {"rules": [rule.replace("-", "_") for rule in rules]} if rules else {}
    done = f"cleared {' '.join(rules or ['the rules'])} of {name}"
    return _do(done, "clear_tenant", name, why, by, domain, as_json, **more)


@tenant.command(epilog=EXPLAINED)
def pause(
    name: Tenant,
    why: Why = "",
    by: By = None,
    domain: Where = None,
    unseen: Unseen = False,
    as_json: AsJson = False,
) -> int:
    """Start nothing of a tenant until it is resumed; what runs goes on, what waits stays in line.

    nooble tenant pause acme --why "invoice 4711"
    """
    return _do(f"paused {name}", "pause_tenant", name, why, by, domain, as_json, unseen=unseen)


@tenant.command(epilog=EXPLAINED)
def resume(name: Tenant, why: Why = "", by: By = None, domain: Where = None, as_json: AsJson = False) -> int:
    """Let a paused tenant start again, at once; ends what handlers said for it, too (backpressure).

    nooble tenant resume acme
    """
    nothing = f"{name} was not paused"
    return _do(f"resumed {name}", "resume_tenant", name, why, by, domain, as_json, nothing)


def _do(
    done: str,
    verb: str,
    name: str,
    why: str,
    by: str | None,
    domains: list[str] | None,
    as_json: bool,
    nothing: str = "",
    **more: Any,
) -> int:
    async def act() -> list[str]:
        async with operator() as commands:
            command: Callable[..., Awaitable[list[str]]] = getattr(commands, verb)
            return await command(name, by=author(by), why=why, domains=domains or [], **more)

    tell(done, run_async(act()), as_json=as_json, nothing=nothing, tenant_id=name)
    return OK


def _show(found: list[TenantStanding]) -> None:
    from .limits import show_limits

    tiers = [tier for each in found for tier in each.tiers]
    if tiers:
        show_limits(tiers)
    paragraphs = [*_paragraphs(found)]
    if not (tiers or paragraphs):
        out().print("Nothing of it waits or runs, and operators have set nothing for it.")
    for at, (text, style) in enumerate(paragraphs):
        out().print(text if at == 0 and not tiers else f"\n{text}", style=style)


def _paragraphs(found: list[TenantStanding]) -> Iterator[tuple[str, str]]:
    for each in found:
        if each.registration is not None:
            tier = f"registered for {each.registration.tier}" if each.registration.tier else "not registered"
            drains = ", takes no new actions (drain)" if each.registration.draining else ""
            yield f"{each.domain}: {tier}{drains}", "yellow" if drains else ""
        if each.override is not None:
            for line in _told(each.override):
                yield f"{each.domain}: {line}", "yellow"


def _told(override: Override) -> list[str]:
    rules, told = [], []
    if override.weight is not None:
        rules.append(f"weight {override.weight:g}")
    if override.limits is not None:
        rules.append("limits " + (", ".join(limit.name for limit in override.limits) or "none"))
    if override.max_concurrency is not None:
        rules.append(f"max concurrency {override.max_concurrency or 'any'}")
    if override.time_zone is not None:
        rules.append(f"time zone {override.time_zone}")
    if rules:
        told.append(f"{'; '.join(rules)} (set by {_whose(override.by, override.at_ms, override.why)})")
    if override.paused:
        whose = _whose(override.paused_by, override.paused_at_ms, override.paused_why)
        told.append(f"paused (by {whose})")
    return told


def _whose(by: str, at_ms: int, why: str) -> str:
    from .figures import moment

    return f"{by}, {moment(at_ms - at_ms % 1_000)}{f': {why}' if why else ''}"


def _to_dict(each: TenantStanding) -> dict[str, Any]:
    from .limits import to_dict

    override = each.override and {
        **each.override._asdict(),
        "limits": None if each.override.limits is None else [limit.name for limit in each.override.limits],
    }
    registration = each.registration and each.registration._asdict()
    tiers = [to_dict(tier) for tier in each.tiers]
    return {"domain": each.domain, "registration": registration, "tiers": tiers, "override": override}
