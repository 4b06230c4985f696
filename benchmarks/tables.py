"""A run's figures on the terminal."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table as Shown

from .columns import COLUMNS, title
from .figures import Table, shown
from .plan import Scenario
from .rounds import Result


def show(console: Console, scenarios: list[Scenario], result: Result) -> None:
    """The tables of each scenario, and who failed why."""
    tables = result.tables()
    for scenario in scenarios:
        if not (table := tables.get(scenario.name)):
            continue
        if scenario.name in COLUMNS:
            console.print(compared(scenario, table))
        if rest := leftover(scenario, table):
            console.print(all_figures(scenario, rest))
        console.print(scenario.legend, "")
    for rival, reason in result.failures.items():
        console.print(f"{rival}: {escape(reason)}", soft_wrap=True)
    if result.cut:
        console.print(f"not all rounds: {result.cut}")


def compared(scenario: Scenario, table: Table) -> Shown:
    """A peer per row."""
    made = Shown(title=f"{scenario.title}: median (least..most)")
    made.add_column("compare within this run only")
    columns = COLUMNS[scenario.name]
    for column in columns:
        made.add_column(column.title, justify="right")
    for subject, row in table.items():
        made.add_row(title(subject), *(column.text(row) for column in columns))
    return made


def leftover(scenario: Scenario, table: Table) -> Table:
    """Ours and the floor: the figures that the comparison does not show."""
    known = {name for column in COLUMNS.get(scenario.name, ()) for name in column.figures}
    kept = {
        subject: {name: spread for name, spread in row.items() if name not in known}
        for subject, row in table.items()
        if not known or subject.startswith(("ours", "bare"))
    }
    return {subject: row for subject, row in kept.items() if row}


def all_figures(scenario: Scenario, table: Table) -> Shown:
    """A figure per row when there are few subjects, else a subject per row."""
    figures = list(dict.fromkeys(figure for row in table.values() for figure in row))
    made = Shown(title=f"{scenario.title}: {'more of ours' if scenario.name in COLUMNS else 'ours'}")
    made.add_column("", no_wrap=True)
    across = len(table) <= 3
    for head in table if across else figures:
        made.add_column(head, justify="right")
    if across:
        for figure in figures:
            made.add_row(figure, *(shown(row.get(figure)) for row in table.values()))
    else:
        for subject, row in table.items():
            made.add_row(subject, *(shown(row.get(figure)) for figure in figures))
    return made
