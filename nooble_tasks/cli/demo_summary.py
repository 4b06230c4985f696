"""The demo's report for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .demo_report import Report
from .figures import count, duration

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table


def render_report(report: Report, console: Console) -> RenderableType:
    """Tiers, samples, checks, and the last word."""
    from rich.console import Group
    from rich.text import Text

    work = (
        f"{report.documents:,} documents ({report.megabytes:.1f} MB) and {report.progress_callbacks:,} "
        f"progress callbacks in {report.seconds:.0f} s"
    )
    parts: list[RenderableType] = [Text(work, style="dim"), "", _tiers(report, console.width), ""]
    for sample in report.samples:
        parts += _sample(sample, console.width)
    for error, times in report.errors.items():
        parts.append(Text(f"{times:,} × {error}", style="red"))
    parts += [_checks(report), ""]
    if report.ok:
        parts.append(Text("All promises were kept.", style="bold green"))
    else:
        parts.append(Text("Something was not kept: see above. Exit code 1.", style="bold red"))
    return Group(*parts)


def _tiers(report: Report, width: int) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    gap = 0 if width < 100 else 2
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, gap, 0, 0))
    table.add_column("tier", no_wrap=True)
    names = (
        "accepted",
        "done",
        "failed",
        "cancelled",
        "limit\nhits",
        "held\nat end",
        "queue\np50",
        "time\np99",
    )
    for name in (*names, "passage\nfound"):
        table.add_column(name, justify="right", no_wrap=True)
    for tier in report.tiers:
        found = f"{tier.passage_found}/{tier.questions_answered}" if tier.questions_answered else "–"
        table.add_row(
            Text(tier.tier, style="bold"),
            count(tier.accepted),
            count(tier.done),
            Text(count(tier.failed), style="red" if tier.failed else ""),
            count(tier.cancelled + tier.expired),
            Text(count(tier.held_times), style="yellow" if tier.held_times else ""),
            Text(count(tier.held_at_end), style="yellow" if tier.held_at_end else ""),
            duration(tier.queue_ms_p50),
            duration(tier.queue_ms_p99),
            found,
        )
    return table


def _checks(report: Report) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2, 0, 0))
    for check in report.checks:
        word = Text("ok", style="green") if check.kept else Text("NOT KEPT", style="bold red")
        table.add_row(Text(check.name, no_wrap=True), word, Text(check.evidence))
    return table


def _sample(sample: dict[str, object], width: int) -> list[RenderableType]:
    from rich.text import Text

    def short(value: object, most: int) -> str:
        text = " ".join(str(value).split())
        return text if len(text) <= most else f"{text[: most - 1]}…"

    return [
        Text(short(sample["question"], width - 2), style="cyan"),
        Text(short(f"  {sample['title']}: {sample['passage']}", width - 2), style="dim"),
        "",
    ]
