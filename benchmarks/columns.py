"""What tables show of a scenario: a title per column, the figure behind it, and which end is better."""

from __future__ import annotations

from typing import NamedTuple

from .figures import Spread, number, shown
from .peers import TITLES

Subject = dict[str, Spread]


class Column(NamedTuple):
    """A column; subjects may have the figure under different names."""

    title: str
    figures: tuple[str, ...]
    better: str = ""
    """`more`, `less`, or empty where neither is."""

    def spread(self, row: Subject) -> Spread | None:
        """The figure of a subject."""
        return next((row[name] for name in self.figures if name in row), None)

    def text(self, row: Subject) -> str:
        """The figure for people; what did not come back within the time says so."""
        if (spread := self.spread(row)) is not None:
            return shown(spread)
        name = self.figures[0]
        prefix = name.removesuffix("all_s")
        if prefix != name and (again := row.get(f"{prefix}again")):
            return f"not within {number(row[f'{prefix}gave_up_s'].median)} s ({number(again.median)} of 100)"
        return ""


_DRAIN = (
    Column("tasks/s", ("per_s", "drain_per_s"), "more"),
    Column("worker µs", ("worker_us", "drain_client_us"), "less"),
    Column("server µs", ("server_us",), "less"),
    Column("bulk enqueue/s", ("bulk_per_s", "xadd_pipelined_per_s"), "more"),
)

COLUMNS: dict[str, tuple[Column, ...]] = {
    "speed": (*_DRAIN, Column("one by one/s", ("one_by_one_per_s", "xadd_sequential_per_s"), "more")),
    "sleep": _DRAIN,
    "large": _DRAIN,
    "calls": (
        Column("p50 ms", ("call_p50_ms",), "less"),
        Column("p99 ms", ("call_p99_ms",), "less"),
        Column("bare round trip ms", ("ping_p50_ms",)),
        Column("calls", ("calls",)),
    ),
    "idle": (
        Column("commands/s", ("commands_per_s",), "less"),
        Column("worker CPU %", ("worker_cpu_percent",), "less"),
    ),
    "noisy": (
        Column("p50 wait ms", ("wait_p50_ms",), "less"),
        Column("p99 wait ms", ("wait_p99_ms",), "less"),
        Column("drain s", ("drain_s",), "less"),
    ),
    "crash": (
        Column("as installed: first, s", ("first_s",)),
        Column("as installed: all, s", ("all_s",), "less"),
        Column("tuned: first, s", ("tuned_first_s",)),
        Column("tuned: all, s", ("tuned_all_s",), "less"),
    ),
}

_SUBJECTS = {
    "bare": "redis-py and no queue at all",
    "ours, 100": "nooble-tasks, 100 tenants",
    "ours, 10,000": "nooble-tasks, 10,000 tenants",
    "ours, as installed": "nooble-tasks",
}


def title(subject: str, versions: dict[str, str] | None = None) -> str:
    """A subject for people."""
    if subject in _SUBJECTS:
        return _SUBJECTS[subject]
    name, _, note = subject.partition(", ")
    if name not in TITLES:
        return subject
    version = (versions or {}).get(name, "")
    made = f"{TITLES[name]} {version}".strip()
    return f"{made}, priorities {note}" if note else made
