"""What a simulation says, on a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import TYPE_CHECKING

from .console import out
from .figures import DASH, count, duration
from .tables import marked, table, wide

if TYPE_CHECKING:
    from nooble_tasks._engine import simulation

    from .simulate_work import Answer

_DETAILED = 4  # so many runs are shown in full


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
    refused = f", {report.refused:,} refused" if report.refused else ""
    cut = f", {report.timed_out:,} ran into their timeout" if report.timed_out else ""
    fairness = DASH if report.fairness is None else f"{report.fairness:.3f}"
    return (
        f"{report.started:,} actions{refused}{cut} in {duration(report.makespan_ms)}, "
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
    words = [f"{why} {duration(ms)}" for why, ms in longest]
    words += [f"{many:,} refused ({why})" for why, many in (refused or {}).items()]
    return ", ".join(words) or DASH


def _show_run(report: simulation.Report, tenants: int) -> None:
    out().print(title(report), style="bold")
    out().print(headline(report))
    roomy = wide()
    numbers = ["tenants", "actions", "p50", "p95", "p99", "starved", "share", "fair"]
    if not roomy:
        numbers = ["actions", "p50", "p95", "p99", "starved", "share"]
    made = table(["tier"], numbers, ["held by"])
    for tier in report.tiers:
        waits = tier.queue_ms
        made.add_row(
            tier.tier,
            *([count(tier.tenants)] if roomy else []),
            count(tier.arrived),
            duration(waits.p50),
            duration(waits.p95),
            duration(waits.p99),
            duration(tier.starvation_ms),
            f"{tier.share:.1%}",
            *([DASH if tier.fairness is None else f"{tier.fairness:.3f}"] if roomy else []),
            held_words(tier.held_ms, tier.refused),
        )
    out().print(made)
    if tenants:
        _show_tenants(report, tenants)


def _show_tenants(report: simulation.Report, most: int) -> None:
    out().print()
    made = table(["tenant", "tier"], ["actions", "p50", "p99", "starved", "share"], ["held by"])
    longest = sorted(report.tenants, key=lambda each: (-(each.queue_ms.p99 or 0), each.tenant))
    for each in longest[:most]:
        made.add_row(
            each.tenant,
            each.tier,
            count(each.arrived),
            duration(each.queue_ms.p50),
            duration(each.queue_ms.p99),
            duration(each.starvation_ms),
            f"{each.share:.1%}",
            held_words(each.held_ms),
        )
    out().print(made)


def _compare(found: Answer) -> None:
    tiers = list(dict.fromkeys(tier.tier for report in found.reports for tier in report.tiers))
    more = ["makespan", "used"] if wide() else []
    out().print("p99 of queue_time", style="bold")
    made = table(["policy"], ["fleet", *tiers, *more])
    for report in found.reports:
        rows = [report.tier(name) for name in tiers]
        figures = [duration(report.makespan_ms), used(report)]
        made.add_row(
            PurePath(report.policy).name,
            f"{report.workers} × {report.slots}",
            *(DASH if row is None else duration(row.queue_ms.p99) for row in rows),
            *(figures if more else []),
        )
    out().print(made)


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
        if each.workers is None:
            text = f"no fleet that was tried meets all targets with {each.slots} slots: {each.policy}"
        else:
            text = (
                f"smallest fleet that meets all targets: {each.workers} × {each.slots} slots: {each.policy}"
            )
        out().print(text)
