"""Figures of several rounds: median, least and most."""

from __future__ import annotations

import statistics
from typing import Any, NamedTuple

from .processes import Row


class Spread(NamedTuple):
    """One figure over the rounds of a run."""

    median: float
    least: float
    most: float
    rounds: int


Table = dict[str, dict[str, Spread]]
"""Subject -> figure -> its spread."""


def spreads(rounds: list[dict[str, Row]]) -> Table:
    """Per subject and figure what all rounds gave."""
    collected: dict[str, dict[str, list[float]]] = {}
    for one in rounds:
        for subject, row in one.items():
            for figure, value in row.items():
                collected.setdefault(subject, {}).setdefault(figure, []).append(value)
    return {
        subject: {
            figure: Spread(statistics.median(values), min(values), max(values), len(values))
            for figure, values in row.items()
        }
        for subject, row in collected.items()
    }


def to_json(table: Table) -> dict[str, dict[str, dict[str, float]]]:
    """As JSON: figures to five places that mean something."""
    return {
        subject: {
            figure: {
                name: value if isinstance(value, int) else float(f"{value:.5g}")
                for name, value in spread._asdict().items()
            }
            for figure, spread in row.items()
        }
        for subject, row in table.items()
    }


def from_json(data: Any) -> Table:
    """The table that ``to_json`` wrote."""
    return {
        subject: {figure: Spread(**spread) for figure, spread in row.items()} for subject, row in data.items()
    }


def number(value: float | None) -> str:
    """For people."""
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:,.2f}"


def shown(spread: Spread | None) -> str:
    """Median, and the range if there is one."""
    if spread is None:
        return ""
    if spread.rounds == 1 or spread.least == spread.most:
        return number(spread.median)
    return f"{number(spread.median)} ({number(spread.least)}..{number(spread.most)})"
