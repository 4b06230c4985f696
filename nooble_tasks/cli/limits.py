"""`nooble limits`: what a tenant has used, what is left, when there is more."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .console import out, print_json
from .exits import EXPLAINED, OK
from .loops import run_async

if TYPE_CHECKING:
    from nooble_tasks._engine import TenantLimits
    from nooble_tasks.inspector import Inspector

Tenant = Annotated[str, typer.Argument(metavar="TENANT", help="Whose limits.")]
Domain = Annotated[str | None, typer.Option(help="Only there; default: every domain on the server.")]
Tier = Annotated[str | None, typer.Option(help="As if on that tier; default: where it has used something.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, with the HTTP header fields of each.")]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=EXPLAINED)(limits)


def limits(tenant: Tenant, domain: Domain = None, tier: Tier = None, as_json: AsJson = False) -> int:
    """Show each limit of a tenant: used, left, when there is more than now, when all of it is back.

    A limit marked (domain) counts the starts of all tenants of the domain together.

    nooble limits acme

    nooble limits acme --domain embedding --tier free --json
    """
    found = run_async(_look(tenant, domain, tier))
    if as_json:
        print_json({"tenant_id": tenant, "limits": [to_dict(each) for each in found]})
    else:
        show_limits(found)
    return OK


async def _look(tenant: str, domain: str | None, tier: str | None) -> list[TenantLimits]:
    from .connection import connected

    async with connected() as client:
        inspector = client.inspector
        domains = await inspector.check(domains=[domain] if domain else [])
        found: list[TenantLimits] = []
        for each in domains:
            if tier is not None:
                found.append(await inspector.limits(tenant, each, tier=tier))
            else:
                found += await inspector.limits_in_use(tenant, each)
        if not found:
            found = await _of_unused(inspector, tenant, domains)
        return found


async def _of_unused(inspector: Inspector, tenant: str, domains: Sequence[str]) -> list[TenantLimits]:
    """A tenant that has used nothing: in the tier it is registered for, provided that anybody knows it."""
    from nooble_tasks.lookup_errors import UnknownTenant

    known = [each for each in domains if await inspector.knows_tenant(tenant, each)]
    if not known:
        raise UnknownTenant(tenant, domains, await inspector.tenants_like(tenant, domains))
    return [await inspector.limits(tenant, each) for each in known]


def show_limits(found: Sequence[TenantLimits]) -> None:
    """The table, and below it a sentence for each line that is held, or of which something is set aside."""
    from .figures import count, duration
    from .tables import marked, table, wide

    texts = ["domain", "tier", "limit", *(["strategy"] if wide() else [])]
    made = table(texts, ["used", "left", "more in", "all in"])
    for each in found:
        for limit in each.limits:
            name = limit.name if limit.scope == "tenant" else f"{limit.name} ({limit.scope})"
            times = [duration(at - each.at_ms) if at else "–" for at in (limit.more_at_ms, limit.full_at_ms)]
            cells = [each.domain, each.tier, name, *([limit.strategy] if wide() else [])]
            left = marked(f"{limit.remaining:,}", "yellow", not limit.remaining)
            made.add_row(*cells, count(limit.used), left, *times)
        if each.max_concurrency:
            left = marked(f"{each.free_slots:,}", "yellow", not each.free_slots)
            cells = [each.domain, each.tier, "concurrency", *(["running now"] if wide() else [])]
            made.add_row(*cells, count(each.slots_taken), left, "–", "–")
        if each.max_backlog:
            room = max(each.max_backlog - each.backlog, 0)
            cells = [each.domain, each.tier, "backlog", *(["in line now"] if wide() else [])]
            made.add_row(*cells, count(each.backlog), marked(f"{room:,}", "yellow", not room), "–", "–")
        if not (each.limits or each.max_concurrency or each.max_backlog):
            made.add_row(each.domain, each.tier, "none")
    out().print(made)
    for each in found:
        if each.held:
            out().print("\n" + _held(each))
        if each.set_aside:
            types = ", ".join(each.set_aside_types)
            of_them = f"{each.set_aside:,} of {each.tenant_id}'s actions in {each.domain}, tier {each.tier},"
            out().print(f"\n{of_them} are set aside: {types} paused (nooble operations tells by whom).")


def _held(each: TenantLimits) -> str:
    from .figures import duration, moment

    where = f"{each.tenant_id} is held in {each.domain}, tier {each.tier}: {each.held_why}"
    if each.held_why.startswith("paused"):
        return f"{where}, until it is resumed."
    if each.held_until_ms is None:
        return f"{where}, until one of its {each.slots_taken:,} running actions ends."
    return f"{where}, until {moment(each.held_until_ms)}, in {duration(each.held_until_ms - each.at_ms)}."


def to_dict(each: TenantLimits) -> dict[str, Any]:
    """As JSON knows it, with the header fields of a gateway."""
    from nooble_tasks.rate_limit_headers import rate_limit_headers

    limits = [{**limit._asdict(), "used": limit.used} for limit in each.limits]
    fields = {name: value for name, value in each._asdict().items() if name != "tenant_id"}
    return {**fields, "limits": limits, "headers": rate_limit_headers(each)}
