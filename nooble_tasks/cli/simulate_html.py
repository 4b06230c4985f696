"""A page about a simulation: figures and plots in one file, readable without network and in the dark."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from .figures import DASH, count, duration
from .simulate_plots import bars, colour_of, curves
from .simulate_view import headline, held_words, smallest_words, title, used, waited_longest

if TYPE_CHECKING:
    from nooble_tasks._engine import simulation

    from .simulate_work import Answer

TENANTS = 20
"""So many tenants are on the page; all of them are in the JSON."""

_STYLE = """
:root { color-scheme: light dark; --ink: #1c2430; --dim: #66707f; --line: #d9dee6; --paper: #fff;
  --good: #1a7f4b; --bad: #c2372e; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6eaf0; --dim: #9aa4b2; --line: #38414d; --paper: #14181e;
    --good: #4cc38a; --bad: #ff8a80; }
}
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2.5rem; } h3 { font-size: 1rem; }
.dim { color: var(--dim); } .met { color: var(--good); } .missed { color: var(--bad); font-weight: 600; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: right; white-space: nowrap; padding: .3rem .6rem; border-bottom: 1px solid var(--line); }
th { font-weight: 600; color: var(--dim); }
.left { text-align: left; white-space: normal; }
summary { cursor: pointer; font-weight: 600; margin: 1.2rem 0 .4rem; }
svg { width: 100%; height: auto; } svg text { fill: var(--dim); font: 12px system-ui, sans-serif; }
"""


def page(found: Answer) -> str:
    """The whole page. The same answer gives the same bytes."""
    load = found.load
    name = escape(load.name or load.domain)
    tenants = len({arrival.tenant for arrival in load.arrivals})
    parts = [
        f"<h1>Simulation: {name}</h1>",
        f'<p class="dim">{len(load.arrivals):,} actions of {tenants:,} tenants in the domain '
        f"{escape(load.domain)}, arriving over {duration(load.arrivals[-1].at_ms)}. Played on the scripts "
        "that decide in production, under virtual time.</p>",
        _targets(found),
        _comparison(found.reports) if len(found.reports) > 1 else "",
        *(_run(report) for report in found.reports),
        _definitions(),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Simulation: {name}</title><style>{_STYLE}</style></head>\n<body>\n"
        + "\n".join(part for part in parts if part)
        + "\n</body></html>\n"
    )


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]], left: Sequence[int] = (0,)) -> str:
    def cells(kind: str, values: Sequence[str]) -> str:
        return "".join(
            f"<{kind}{' class=left' if at in left else ''}>{escape(value)}</{kind}>"
            for at, value in enumerate(values)
        )

    body = "\n".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    return f'<div class="wide"><table>\n<tr>{cells("th", heads)}</tr>\n{body}\n</table></div>'


def _targets(found: Answer) -> str:
    lines = []
    for each in found.verdicts:
        word = "met" if each.met else "missed"
        where = f"{each.policy} on {each.workers} × {each.slots} slots"
        lines.append(
            f'<li class="{word}">{escape(each.target)} {word}: {duration(each.value_ms)}, {escape(where)}'
            "</li>"
        )
    lines += [f"<li>{escape(_sentence(smallest_words(each)))}</li>" for each in found.smallest]
    return f"<h2>Targets</h2>\n<ul>{''.join(lines)}</ul>" if lines else ""


def _sentence(words: str) -> str:
    return words[0].upper() + words[1:]


_OF_TIERS: tuple[tuple[str, Callable[[simulation.TierReport], str]], ...] = (
    ("queue_time, p50", lambda tier: duration(tier.queue_ms.p50)),
    ("queue_time, p95", lambda tier: duration(tier.queue_ms.p95)),
    ("queue_time, p99", lambda tier: duration(tier.queue_ms.p99)),
    ("Starved", lambda tier: duration(tier.starvation_ms)),
    ("Share of worker-seconds", lambda tier: f"{tier.share:.1%}"),
    ("Held by limits, all tenants together", lambda tier: duration(sum(tier.held_ms.values()))),
)


def _comparison(reports: Sequence[simulation.Report]) -> str:
    tiers = list(dict.fromkeys(tier.tier for report in reports for tier in report.tiers))
    parts = ["<h2>Side by side</h2>"]
    whole = [
        [
            title(report),
            duration(report.makespan_ms),
            used(report),
            f"{report.peak_slots:,} of {report.workers * report.slots:,}",
            DASH if report.fairness is None else f"{report.fairness:.3f}",
            count(report.refused),
            count(report.timed_out),
        ]
        for report in reports
    ]
    parts.append(
        _table(["", "makespan", "utilisation", "most slots in use", "fairness", "refused", "cut off"], whole)
    )
    for name, figure in _OF_TIERS:
        rows = [
            [title(report), *(DASH if tier is None else figure(tier) for tier in map(report.tier, tiers))]
            for report in reports
        ]
        parts += [f"<h3>{name}</h3>", _table(["", *tiers], rows)]
    return "\n".join(parts)


def _longest(report: simulation.Report) -> str:
    rows = [
        [
            each.tenant,
            each.tier,
            count(each.arrived),
            duration(each.queue_ms.p50),
            duration(each.queue_ms.p95),
            duration(each.queue_ms.p99),
            duration(each.starvation_ms),
            f"{each.share:.1%}",
            held_words(each.held_ms),
        ]
        for each in waited_longest(report, TENANTS)
    ]
    heads = ["tenant", "tier", "actions", "p50", "p95", "p99", "starved", "share", "held by"]
    who = f"The {len(rows)} tenants that waited longest" if len(rows) > 1 else "The tenant"
    table = _table(heads, rows, left=(0, 1, len(heads) - 1))
    return f"<details><summary>{who}</summary>\n{table}</details>"


def _run(report: simulation.Report) -> str:
    heads = ["tier", "tenants", "actions", "p50", "p95", "p99", "starved", "share", "fairness", "held by"]
    rows = [
        [
            tier.tier,
            count(tier.tenants),
            count(tier.arrived),
            duration(tier.queue_ms.p50),
            duration(tier.queue_ms.p95),
            duration(tier.queue_ms.p99),
            duration(tier.starvation_ms),
            f"{tier.share:.1%}",
            DASH if tier.fairness is None else f"{tier.fairness:.3f}",
            held_words(tier.held_ms, tier.refused),
        ]
        for tier in report.tiers
    ]
    waits = {tier.tier: [(b.from_ms, b.p95) for b in tier.over_time] for tier in report.tiers}
    used = [(tier.tier, tier.worker_ms, f"{tier.share:.1%}", colour_of(at)) for at, tier in _numbered(report)]
    held = [
        (f"{tier.tier}: {why}", ms, duration(ms), colour_of(at))
        for at, tier in _numbered(report)
        for why, ms in tier.held_ms.items()
    ]
    parts = [
        f"<h2>{escape(title(report))}</h2>",
        f"<p>{escape(headline(report))}</p>",
        _table(heads, rows, left=(0, len(heads) - 1)),
        "<h3>queue_time by time of arrival, p95</h3>",
        curves(waits),
        "<h3>Share of worker-seconds</h3>",
        bars(used),
    ]
    if held:
        parts += ["<h3>Held, all tenants together</h3>", bars(held)]
    return "\n".join([*parts, _longest(report)])


def _numbered(report: simulation.Report) -> list[tuple[int, Any]]:
    return list(enumerate(report.tiers))


def _definitions() -> str:
    return (
        '<h2>What the figures are</h2>\n<p class="dim">queue_time: from arrival to start. share: of all '
        "worker-seconds used. held: time in which a limit kept a tenant from starting, summed over tenants. "
        "starved: the longest stretch in which a tenant had work, nothing held it, and none of it started. "
        "fairness: Jain’s index over the tenants’ pace (run time ÷ time from arrival to end); 1 is equal. "
        "makespan: from the first arrival to the last end. cut off: by the timeout of the tier. "
        "utilisation: worker-seconds used of those there were while actions arrived. Failures, retries and "
        "the time of round trips are not simulated.</p>"
    )
