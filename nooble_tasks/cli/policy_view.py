"""How `nooble policy` shows versions and dry runs: tables for people, plain values for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .console import out
from .figures import moment
from .tables import marked, table

if TYPE_CHECKING:
    from nooble_tasks._engine import DryRun, PolicyChange, PolicyVersion, TierEffect


def headline(version: PolicyVersion) -> str:
    """Who published it, when and why."""
    return f"version {version.version}, {moment(version.at_ms)}, by {version.by}: {version.why}"


def show_history(versions: Sequence[PolicyVersion]) -> None:
    """One row per version."""
    made = table(["version", "when", "by"], [], ["why"])
    for each in versions:
        made.add_row(str(each.version), moment(each.at_ms), each.by, each.why)
    out().print(made)


def show_dry_run(found: DryRun) -> None:
    """What would change, for whom, and what stands in the way."""
    replaced = f"version {found.version}" if found.version else "nothing: no policy was published yet"
    from nooble_tasks.errors import did_you_mean

    if found.diff.empty:
        out().print(f"It says the same as {replaced}.")
        return
    out().print(f"In place of {replaced}:\n")
    made = table(["where"], [], ["key", "before", "after"])
    for name in found.diff.removed:
        made.add_row(f"tier {name}", "", marked("the tier", "red"), marked("gone", "red"))
    for change in found.diff.changes:
        made.add_row(_where(change), change.key, _value(change.before), _value(change.after))
    out().print(made)
    _show_effects(found.effects)
    for each in found.occupied:
        out().print(marked(f"\nRefused: {each}: {_names(each.tenants.some, each.tenants.total)}", "red"))
    for each, tier in found.moved:
        names = _names(each.tenants.some, each.tenants.total)
        out().print(marked(f"\nMoves to tier {tier}: {each}: {names}", "yellow"))
    for name in found.unserved:
        near = did_you_mean(name, found.domains)
        told = f"\nNo worker ever served the domain {name!r}, which has rules here{near}"
        out().print(marked(told, "yellow"))


def _show_effects(effects: Sequence[TierEffect]) -> None:
    if not effects:
        out().print("\nNobody starts again or is held by it at once.")
        return
    out().print()
    made = table(["domain", "tier"], ["tenants"], ["what happens to them"])
    for each in effects:
        rows = ((each.start_again, "start again", "green"), (each.over, "have used it up: held", "yellow"))
        for tenants, what, style in rows:
            if tenants.total and each.shared:
                about = each.shared if each.shared.startswith("limit") else f"limits of the {each.shared}"
                made.add_row(each.domain, each.tier or "–", "all", marked(f"{what}: {about}", style))
            elif tenants.total:
                names = _names(tenants.some, tenants.total)
                made.add_row(each.domain, each.tier, f"{tenants.total:,}", marked(f"{what}: {names}", style))
    out().print(made)


def _where(change: PolicyChange) -> str:
    if change.tier:
        return f"tier {change.tier}" + (f" in {change.domain}" if change.domain else "")
    return f"domain {change.domain}" if change.domain else "policy"


def _value(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, list):
        return ", ".join(_value(item) for item in value) or "none"
    if isinstance(value, dict) and set(value) == {"rate", "strategy"}:
        return f"{value['rate']} ({value['strategy']})"
    if isinstance(value, dict):
        return " ".join(f"{key}={_value(item)}" for key, item in value.items())
    if isinstance(value, float):
        return f"{value:g}"
    return value if isinstance(value, str) else json.dumps(value)


def _names(some: Sequence[str], total: int) -> str:
    more = total - len(some)
    return ", ".join(some) + (f" and {more:,} more" if more else "")


def dry_run_dict(found: DryRun) -> dict[str, Any]:
    """As JSON knows it."""
    return {
        "version": found.version,
        "added": found.diff.added,
        "removed": found.diff.removed,
        "changes": [change._asdict() for change in found.diff.changes],
        "effects": [
            {
                "domain": each.domain,
                "tier": each.tier,
                "shared": each.shared,
                "start_again": each.start_again._asdict(),
                "over": each.over._asdict(),
            }
            for each in found.effects
        ],
        "occupied": [{**each._asdict(), "tenants": each.tenants._asdict()} for each in found.occupied],
        "moved": [
            {**each._asdict(), "tenants": each.tenants._asdict(), "to": tier} for each, tier in found.moved
        ],
        "domains": found.domains,
        "unserved": found.unserved,
        "refused": bool(found.occupied),
    }
