"""A recorded trace, one row per action, from a CSV file of any shape: options say which column is what.

Without options it is the file that ``nooble simulate record`` writes.
"""

from __future__ import annotations

import csv
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple

from ..errors import nearest
from .arrivals import Arrival, Load
from .errors import TraceError
from .tier_rules import TierRule

RECORDED = ("arrival_ms", "tenant", "tier", "action_type", "run_ms")
"""Columns of a file made by ``nooble simulate record``."""

_UNITS = {"s": 1_000.0, "ms": 1.0, "us": 0.001}
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]{0,127}")
_OFFSET = datetime(1970, 1, 1, tzinfo=UTC)


class TraceFormat(NamedTuple):
    """What the columns are.

    ``time_format``: ``auto`` (ISO 8601, or a number: seconds or milliseconds since 1970 by its size),
    ``iso``, ``s``, ``ms``, or a ``strptime`` format; without a zone it is UTC. ``duration_unit``: s, ms, us.
    ``where``: only rows whose column has (``!=``: has not) that value. ``fit_ms``: arrivals are squeezed or
    stretched so that the trace takes this long; run times stay. ``limit``: only so many rows.
    ``domain``: empty is that of the first row's action type.
    """

    time_column: str = "arrival_ms"
    tenant_column: str = "tenant"
    duration_column: str = "run_ms"
    duration_unit: str = "ms"
    type_column: str = ""
    time_format: str = "auto"
    where: tuple[str, ...] = ()
    fit_ms: int = 0
    limit: int = 0
    domain: str = ""


class _Row(NamedTuple):
    at_ms: float
    tenant: str
    run_ms: int
    action_type: str
    tier: str


def read_trace(path: Path | str, form: TraceFormat, rule: TierRule) -> Load:
    """Read a trace; raises :class:`TraceError`, which names the row and the column."""
    if form.duration_unit not in _UNITS:
        raise TraceError(f"unknown unit {form.duration_unit!r} of durations; one of {', '.join(_UNITS)}")
    try:
        with Path(path).open(encoding="utf-8-sig", newline="") as file:
            rows = list(_rows(str(path), csv.DictReader(file, strict=True), form, rule))
    except OSError as error:
        raise TraceError(f"{path}: cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise TraceError(f"{path}: not UTF-8 text") from error
    except csv.Error as error:
        raise TraceError(f"{path}: not CSV: {error}") from error
    if not rows:
        raise TraceError(f"{path}: no row is left to play")
    return _load(Path(path).name, rows, form, rule)


def _load(name: str, rows: Sequence[_Row], form: TraceFormat, rule: TierRule) -> Load:
    tiers = {} if rule.column else rule.tiers_of(Counter(row.tenant for row in rows))
    first_ms, last_ms = min(row.at_ms for row in rows), max(row.at_ms for row in rows)
    factor = form.fit_ms / (last_ms - first_ms) if form.fit_ms and last_ms > first_ms else 1.0
    arrivals = [
        Arrival(
            round((row.at_ms - first_ms) * factor),
            row.tenant,
            row.tier or tiers[row.tenant],
            row.run_ms,
            row.action_type,
        )
        for row in rows
    ]
    arrivals.sort(key=attrgetter("at_ms"))
    return Load(name, rows[0].action_type.split(".")[0], int(first_ms), arrivals)


def _rows(source: str, reader: csv.DictReader[str], form: TraceFormat, rule: TierRule) -> Iterator[_Row]:
    wheres = [_where(source, text) for text in form.where]
    if not form.type_column and "action_type" in (reader.fieldnames or ()):
        form = form._replace(type_column="action_type")
    needed = [form.time_column, form.tenant_column, form.duration_column, form.type_column, rule.column]
    _check_columns(source, reader.fieldnames or (), [*needed, *(column for column, _, _ in wheres)])
    count = 0
    for cells in reader:
        if None in cells.values():
            raise TraceError(f"{source}: row {reader.line_num} has fewer columns than the first row")
        if any((cells[column] == value) != wanted for column, value, wanted in wheres):
            continue
        count += 1
        row = _row(_Cells(source, reader.line_num, cells), form, rule)
        form = form._replace(domain=form.domain or row.action_type.split(".")[0])
        yield row
        if count == form.limit:
            return


class _Cells(NamedTuple):
    source: str
    number: int
    cells: Mapping[str, str]

    def read(self, column: str, parse: Callable[[str], float | str]) -> float | str:
        text = self.cells[column].strip()
        try:
            return parse(text)
        except (ValueError, OverflowError) as error:
            raise TraceError(
                f"{self.source}: row {self.number}, column {column!r}: {text[:80]!r} {error}"
            ) from None


def _row(cells: _Cells, form: TraceFormat, rule: TierRule) -> _Row:
    unit = _UNITS[form.duration_unit]
    kind = (
        cells.read(form.type_column, lambda text: _action_type(form.domain, text)) if form.type_column else ""
    )
    return _Row(
        float(cells.read(form.time_column, lambda text: _time_ms(text, form.time_format))),
        str(cells.read(form.tenant_column, _tenant)),
        max(round(float(cells.read(form.duration_column, _duration)) * unit), 1),
        str(kind) or f"{form.domain or 'trace'}.action",
        str(cells.read(rule.column, _tier)) if rule.column else "",
    )


def _where(source: str, text: str) -> tuple[str, str, bool]:
    column, sign, value = text.partition("=")
    if not sign or not column:
        raise TraceError(f"{source}: {text!r} is no filter; write COLUMN=VALUE or COLUMN!=VALUE")
    return column.removesuffix("!"), value, not column.endswith("!")


def _check_columns(source: str, there: Iterable[str], needed: Iterable[str]) -> None:
    known = list(there)
    for column in needed:
        if column and column not in known:
            has = ", ".join(known) or "none: the file is empty"
            raise TraceError(f"{source}: row 1: no column {column!r}{nearest(column, known)}; it has {has}")


def _time_ms(text: str, form: str) -> float:
    if not text:
        raise ValueError("is empty")
    if form in ("s", "ms") or (form == "auto" and re.fullmatch(r"-?\d+(\.\d+)?", text)):
        number = _number(text)
        return number if form == "ms" or (form == "auto" and number >= 1e11) else number * 1000
    try:
        when = datetime.fromisoformat(text) if form in ("auto", "iso") else datetime.strptime(text, form)  # noqa: DTZ007
    except ValueError:
        wanted = "an ISO 8601 time" if form in ("auto", "iso") else f"a time of the form {form!r}"
        raise ValueError(f"is not {wanted}; --time-format says what it is") from None
    when = when if when.tzinfo else when.replace(tzinfo=UTC)
    return (when - _OFFSET).total_seconds() * 1000


def _number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        raise ValueError("is no number") from None
    if not math.isfinite(number):
        raise ValueError("is no finite number")
    return number


def _duration(text: str) -> float:
    if not text:
        raise ValueError("is empty; leave such rows out with a filter")
    number = _number(text)
    if number < 0:
        raise ValueError("is negative")
    return number


def _tenant(text: str) -> str:
    if not _ID.fullmatch(text):
        raise ValueError("is no tenant id: 1 to 128 of A-Z a-z 0-9 _ . -")
    return text


def _tier(text: str) -> str:
    if not text:
        raise ValueError("is empty: the tenant has no tier")
    return text


def _action_type(domain: str, text: str) -> str:
    if re.fullmatch(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*){1,4}", text) and text.startswith(
        f"{domain}." if domain else ""
    ):
        return text
    name = re.sub(r"[^a-z0-9_]+", "_", text.lower()).strip("_")
    if not name:
        raise ValueError("is no action type")
    return f"{domain or 'trace'}.{name if name[0].isalpha() else f't_{name}'}"
