"""What a simulation says, on a terminal."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING

from .console import out
from .figures import DASH, count, duration
from .tables import marked, table, wide

if TYPE_CHECKING:
    from rich.table import Table

    from nooble_tasks._engine import simulation

    from .simulate_work import Answer, Smallest

_DETAILED = 4  # so many runs are shown in full
_WRAPPED, _GAP = 11, 2


def show(found: Answer, tenants: int) -> None:
    """Print it."""
    for at, report in enumerate(found.reports[:_DETAILED]):
        if at:
            out().print()
        _show_run(report, tenants)
    if len(found.reports) > 1:
        out().print()
        _compare(found)
    if found.verdicts:
        out().print()
        _show_targets(found)


def headline(report: simulation.Report) -> str:
    """The figures of a whole run in one line."""
    actions = "action" if report.started == 1 else "actions"
    refused = f", {report.refused:,} refused" if report.refused else ""
    cut = f", {report.timed_out:,} of them cut off by their timeout" if report.timed_out else ""
    fairness = DASH if report.fairness is None else f"{report.fairness:.3f}"
    return (
        f"{report.started:,} {actions}{cut}{refused}; the last ended after {duration(report.makespan_ms)}; "
        f"utilisation {used(report)}, fairness {fairness}"
    )


def title(report: simulation.Report) -> str:
    """Which policy on which fleet."""
    return f"{report.policy} on {report.workers} × {report.slots} slots"


def used(report: simulation.Report) -> str:
    """Utilisation; with a digit more where it is low."""
    return f"{report.utilisation:.0%}" if report.utilisation >= 0.1 else f"{report.utilisation:.1%}"


def held_words(held_ms: Mapping[str, int], refused: Mapping[str, int] | None = None) -> str:
    """By which limit for how long; how many were refused, and why."""
    longest = sorted(held_ms.items(), key=lambda pair: (-pair[1], pair[0]))
    words = [f"{why} for {duration(ms)}" for why, ms in longest]
    words += [f"{many:,} refused ({why})" for why, many in (refused or {}).items()]
    return ", ".join(words) or DASH


def _show_run(report: simulation.Report, tenants: int) -> None:
    out().print(title(report), style="bold")
    out().print(headline(report))
    cells: dict[str, Callable[[simulation.TierReport], str]] = {
        "tenants": lambda tier: count(tier.tenants),
        "actions": lambda tier: count(tier.arrived),
        "p50": lambda tier: duration(tier.queue_ms.p50),
        "p95": lambda tier: duration(tier.queue_ms.p95),
        "p99": lambda tier: duration(tier.queue_ms.p99),
        "starved": lambda tier: duration(tier.starvation_ms),
        "share": lambda tier: f"{tier.share:.1%}",
        "fair": lambda tier: DASH if tier.fairness is None else f"{tier.fairness:.3f}",
    }

    def made(columns: Sequence[str]) -> Table:
        rows = table(["tier"], columns, ["held by"])
        for tier in report.tiers:
            held = held_words(tier.held_ms, tier.refused)
            rows.add_row(tier.tier, *(cells[name](tier) for name in columns), held)
        return rows

    out().print(
        _fitting(
            made,
            *([list(cells)] if wide() else []),
            ["actions", "p50", "p95", "p99", "starved", "share"],
            ["p50", "p95", "p99", "starved"],
            ["p50", "p99"],
            ["p99"],
        )
    )
    if tenants:
        _show_tenants(report, tenants)


def _fitting(made: Callable[[Sequence[str]], Table], *choices: Sequence[str]) -> Table:
    """The first of the choices of columns that fits into the terminal: half a figure is none."""
    for columns in choices:
        chosen = made(columns)
        if not _is_too_wide(chosen):
            break
    return chosen


def _is_too_wide(made: Table) -> bool:
    """Columns that may not wrap need all of their cells, one that may a word or two."""
    width = 0
    for column in made.columns:
        longest = max(len(str(cell)) for cell in (column.header, *column.cells))
        width += (longest if column.no_wrap else min(longest, _WRAPPED)) + _GAP
    return width - _GAP > out().width


def _show_tenants(report: simulation.Report, most: int) -> None:
    out().print()
    cells: dict[str, Callable[[simulation.TenantReport], str]] = {
        "actions": lambda each: count(each.arrived),
        "p50": lambda each: duration(each.queue_ms.p50),
        "p99": lambda each: duration(each.queue_ms.p99),
        "starved": lambda each: duration(each.starvation_ms),
        "share": lambda each: f"{each.share:.1%}",
    }

    def made(columns: Sequence[str]) -> Table:
        rows = table(["tenant", "tier"] if "p50" in columns else ["tenant"], columns, ["held by"])
        for each in waited_longest(report, most):
            names = [each.tenant, each.tier] if "p50" in columns else [each.tenant]
            rows.add_row(*names, *(cells[name](each) for name in columns), held_words(each.held_ms))
        return rows

    out().print(_fitting(made, list(cells), ["actions", "p50", "p99"], ["actions", "p99"], ["p99"]))


def waited_longest(report: simulation.Report, most: int) -> list[simulation.TenantReport]:
    """So many tenants, by their p99."""
    return sorted(report.tenants, key=lambda each: (-(each.queue_ms.p99 or 0), each.tenant))[:most]


def _compare(found: Answer) -> None:
    tiers = list(dict.fromkeys(tier.tier for report in found.reports for tier in report.tiers))
    waits = {
        title(report): {
            name: DASH if row is None else duration(row.queue_ms.p99)
            for name, row in ((name, report.tier(name)) for name in tiers)
        }
        for report in found.reports
    }
    out().print("p99 of queue_time", style="bold")

    def made(columns: Sequence[str]) -> Table:
        rows = table(["policy"], ["fleet", *tiers, *columns])
        for report in found.reports:
            figures = {"makespan": duration(report.makespan_ms), "utilisation": used(report)}
            rows.add_row(
                PurePath(report.policy).name,
                f"{report.workers} × {report.slots}",
                *waits[title(report)].values(),
                *(figures[name] for name in columns),
            )
        return rows

    chosen = _fitting(made, *([["makespan", "utilisation"]] if wide() else []), [])
    if _is_too_wide(chosen):
        for where, of_tiers in waits.items():
            out().print(f"{where}: " + ", ".join(f"{name} {wait}" for name, wait in of_tiers.items()))
    else:
        out().print(chosen)


def _show_targets(found: Answer) -> None:
    for verdict in found.verdicts:
        word = "met" if verdict.met else "missed"
        out().print(
            marked(
                f"{verdict.target} {word}: {duration(verdict.value_ms)}, {verdict.policy} on "
                f"{verdict.workers} × {verdict.slots} slots",
                "green" if verdict.met else "red",
            )
        )
    for each in found.smallest:
        out().print(smallest_words(each))


def smallest_words(each: Smallest) -> str:
    """What the search for a fleet has found."""
    if each.workers is None:
        where = f"on up to {each.tried} × {each.slots} slots, {each.policy}"
        return f"no fleet meets all targets {where}: {each.why}"
    return f"smallest fleet that meets all targets: {each.workers} × {each.slots} slots, {each.policy}"
