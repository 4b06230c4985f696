"""docs/benchmarks.md and the README's table, from the figures of runs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .columns import COLUMNS, Column, Subject, title
from .figures import Table, number, shown
from .sections import ALONE, GROWTH, INTRO, MEMORY, SECTIONS, SETTINGS, UNDER_TABLE, VERBS

Tables = dict[str, Table]
Runs = list[dict[str, Any]]


def page(runs: Runs, tables: Tables) -> str:
    """The whole page."""
    versions = _versions(runs)
    parts = [INTRO, "## Machine and commands", _machines(runs)]
    for section in SECTIONS:
        if section.scenario in tables:
            parts += [f"## {section.heading}", section.text]
            parts.append(_compared(section.scenario, tables[section.scenario], versions))
            parts += _remarks(section.scenario, tables[section.scenario], versions)
    parts += ["## Where a rival is ahead", _ahead_list(tables, versions)]
    parts += _own(tables)
    parts += ["## Settings", _settings(runs)]
    if failed := _failed(runs):
        parts += ["## Not measured", failed]
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def summary(runs: Runs, tables: Tables) -> str:
    """The README's part: a table, what ran where, and where rivals win."""
    versions = _versions(runs)
    wanted = [
        ("no-op tasks/s", "speed", "per_s"),
        ("worker CPU", "speed", "worker_us"),
        ("server CPU", "speed", "server_us"),
        ("bulk enqueue/s", "speed", "bulk_per_s"),
        ("call p50", "calls", "call_p50_ms"),
        ("idle commands/s", "idle", "commands_per_s"),
        ("small tenants' p99 wait", "noisy", "wait_p99_ms"),
        ("runs again after kill -9", "crash", "all_s"),
    ]
    units = {
        "worker_us": " µs",
        "server_us": " µs",
        "call_p50_ms": " ms",
        "wait_p99_ms": " ms",
        "all_s": " s",
    }
    rows = []
    for subject in tables.get("speed", {}):
        cells = []
        for _, scenario, figure in wanted:
            key = "ours, as installed" if (scenario, subject) == ("noisy", "ours, 100") else subject
            row = tables.get(scenario, {}).get(key, {})
            column = _column(scenario, figure)
            cells.append(_short(column, row, units.get(figure, "")))
        rows.append([title(subject, versions), *cells])
    table = _markdown(["", *(name for name, _, _ in wanted)], rows)
    speeds = next((run["about"] for run in runs if "speed" in run["scenarios"]), runs[0]["about"])
    return (
        f"{table}\n\n"
        f"{UNDER_TABLE.format(**speeds)}\n"
        "Where a rival is ahead of nooble-tasks with 100 tenants in these figures: "
        f"{_ahead_line(tables, versions, wanted)}\n"
    )


def _short(column: Column, row: Subject, unit: str) -> str:
    spread = column.spread(row)
    if spread is None:
        return column.text(row).partition(" (")[0] or "–"
    return f"{number(spread.median)}{unit}"


def _column(scenario: str, figure: str) -> Column:
    return next(column for column in COLUMNS[scenario] if figure in column.figures)


def _versions(runs: Runs) -> dict[str, str]:
    return {name: about["version"] for run in runs for name, about in run["about"]["peers"].items()}


def _machines(runs: Runs) -> str:
    rows = [
        [
            ", ".join(run["scenarios"]),
            f"`{run['about']['command']}`",
            run["about"]["machine"],
            run["about"]["server"],
            run["about"]["python"],
            f"{run['about']['sizes']['ours']:,} / {run['about']['sizes']['rivals']:,}",
            str(run["about"]["sizes"]["rounds"]),
            "; ".join(said for said in (run["cut"], run["about"].get("note")) if said) or "–",
        ]
        for run in runs
    ]
    return _markdown(
        [
            "scenarios",
            "command",
            "machine",
            "server",
            "Python",
            "actions per drain: ours and Node's / Python rivals'",
            "rounds",
            "remarks",
        ],
        rows,
    )


def _compared(scenario: str, table: Table, versions: dict[str, str]) -> str:
    columns = COLUMNS[scenario]
    rows = [
        [title(subject, versions), *(column.text(row) or "–" for column in columns)]
        for subject, row in table.items()
    ]
    return _markdown(["", *(column.title for column in columns)], rows)


def _remarks(scenario: str, table: Table, versions: dict[str, str]) -> list[str]:
    """Ratios that the tables contain."""
    ours = table.get("ours, 100")
    if scenario not in {"speed", "sleep", "large"} or not ours:
        return []
    rates = {
        subject: row["per_s"].median
        for subject, row in table.items()
        if "per_s" in row and not subject.startswith("ours")
    }
    fastest = sorted(rates, key=lambda subject: rates[subject], reverse=True)
    return [
        "Rate of nooble-tasks with 100 tenants over that of: "
        + ", ".join(f"{title(one, versions)} {ours['per_s'].median / rates[one]:.1f}" for one in fastest)
        + "."
    ] * bool(fastest)


def _ahead(tables: Tables) -> Iterable[tuple[str, Column, str, Subject, Subject]]:
    """(scenario, column, rival, its row, ours) wherever the rival's median is better."""
    for scenario, columns in COLUMNS.items():
        table = tables.get(scenario, {})
        ours = table.get("ours, 100") or table.get("ours, as installed") or {}
        for column in columns:
            mine = column.spread(ours)
            for subject, row in table.items():
                theirs = column.spread(row)
                if subject.startswith(("ours", "bare")) or not (column.better and mine and theirs):
                    continue
                better = (
                    theirs.median > mine.median if column.better == "more" else theirs.median < mine.median
                )
                if better:
                    yield scenario, column, subject, row, ours


def _ahead_list(tables: Tables, versions: dict[str, str]) -> str:
    headings = {section.scenario: section.heading for section in SECTIONS}
    lines = [
        f"- {headings[scenario]}, {column.title}: {title(subject, versions)} {column.text(row)}, "
        f"nooble-tasks {column.text(ours)}"
        for scenario, column, subject, row, ours in _ahead(tables)
    ]
    return "\n".join(lines) or "Nowhere in these tables."


def _ahead_line(tables: Tables, versions: dict[str, str], wanted: list[tuple[str, str, str]]) -> str:
    names = {(scenario, figure): name for name, scenario, figure in wanted}
    found: dict[str, list[str]] = {}
    for scenario, column, subject, _, _ in _ahead(tables):
        for figure in column.figures:
            if name := names.get((scenario, figure)):
                found.setdefault(name, []).append(title(subject, versions))
    return (
        "; ".join(f"{name}: {', '.join(subjects)}" for name, subjects in found.items()) + "."
        if found
        else "nowhere."
    )


def _own(tables: Tables) -> list[str]:
    """Ours alone: growth, verbs, memory."""
    parts: list[str] = []
    if "scaling" in tables:
        parts += [
            "## Growth with tenants",
            GROWTH,
            "![Server time by tenants](benchmarks/growth-cost.svg)\n"
            "![Data by tenants](benchmarks/growth-memory.svg)",
            _plain(tables["scaling"], "tenants in line"),
        ]
    if "verbs" in tables:
        table = tables["verbs"]
        verbs = {name: row for name, row in table.items() if "bytes" not in row}
        bytes_ = {name: row for name, row in table.items() if "bytes" in row}
        parts += [
            "## The server's side",
            VERBS + (ALONE if any("alone_us_per_action" in row for row in verbs.values()) else ""),
            _plain(verbs, "verb"),
            "Bytes of data on the server, with a payload of 208 bytes:",
            _plain(bytes_, "each"),
        ]
    if "memory" in tables:
        parts += [
            "## What 100,000 tenants leave behind",
            MEMORY,
            _plain(tables["memory"], ""),
        ]
    return parts


def _plain(table: Table, first: str) -> str:
    """All figures of a table, those that every subject lacks left out."""
    figures = list(dict.fromkeys(figure for row in table.values() for figure in row))
    rows = [[subject, *(shown(row.get(figure)) for figure in figures)] for subject, row in table.items()]
    return _markdown([first, *(figure.replace("_", " ") for figure in figures)], rows)


def _settings(runs: Runs) -> str:
    abouts = {name: about for run in runs for name, about in run["about"]["peers"].items()}
    rows = [
        [
            title(name, _versions(runs)),
            about["best"],
            about["ranks"] or "none that reach the queue",
            about["tuned"],
        ]
        for name, about in abouts.items()
    ]
    ours = ["nooble-tasks", "as installed; 100 slots, uvloop", "none needed", "`lease_s` 3"]
    head = ["", "speed, calls, idle, noisy neighbour", "priorities by hand", "tuned for recovery"]
    return f"{SETTINGS}\n" + _markdown(head, [ours, *rows])


def _failed(runs: Runs) -> str:
    lines = [
        f"- {title(name, _versions(runs))} ({', '.join(run['scenarios'])}): {reason}"
        for run in runs
        for name, reason in run["failed"].items()
    ]
    return "\n".join(lines)


def _markdown(head: list[str], rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in (head, *rows)]
    lines.insert(1, "|" + "---|" * len(head))
    return "\n".join(lines)
