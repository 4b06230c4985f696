"""A recorded trace, one row per action, from a CSV file of any shape: options say which column is what.

Without options it is the file that ``nooble simulate record`` writes.
"""

from __future__ import annotations

import csv
import gzip
import random
import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple, TextIO

from ..errors import nearest
from . import trace_cells
from .arrivals import Arrival, Load, outside_the_calendar
from .errors import OptionError, TraceError
from .tier_rules import TierRule

RECORDED = ("arrival_ms", "tenant", "tier", "action_type", "run_ms")
"""Columns of a file made by ``nooble simulate record``."""


_LONGEST_MS = 1e15  # longer than any timeout, and still a whole number


class TraceFormat(NamedTuple):
    """What the columns are.

    ``time_format``: ``auto`` (ISO 8601, or a number: seconds or milliseconds as the column's name ends,
    else by its size), ``iso``, ``s``, ``ms``, or a ``strptime`` format; without a zone it is UTC.
    ``duration_unit``: s, ms, us, a length of time such as ``25ms`` for each of the column, or ``auto``:
    as the column's name ends. ``where``: only rows whose column has (``!=``: has not) that value.
    ``fit_ms``: arrivals are squeezed or stretched so that the trace takes this long; run times stay.
    ``limit``: only so many rows. ``domain``: empty is that of the first row's action type. ``invent``:
    the rows are dealt to so many tenants, made up; the k-th gets them in proportion to 1/k^``skew``, by
    random numbers of ``seed``.
    """

    time_column: str = "arrival_ms"
    tenant_column: str = "tenant"
    duration_column: str = "run_ms"
    duration_unit: str = "auto"
    type_column: str = ""
    time_format: str = "auto"
    where: tuple[str, ...] = ()
    fit_ms: int = 0
    limit: int = 0
    domain: str = ""
    invent: int = 0
    skew: float = 1.0
    seed: int = 1


class _Row(NamedTuple):
    at_ms: float
    tenant: str
    run_ms: int
    action_type: str
    tier: str


class _Columns(NamedTuple):
    """A format once the file's columns are known."""

    form: TraceFormat
    tier: str
    unit_ms: float
    wheres: Sequence[tuple[str, str, bool]]
    tenants: Iterator[str] | None


def read_trace(path: Path | str, form: TraceFormat, rule: TierRule) -> Load:
    """Read a trace, ``.gz`` or not; raises :class:`TraceError`, which names the row and the column."""
    wheres = [_where(text) for text in form.where]
    if form.domain and not re.fullmatch(r"[a-z][a-z0-9_]*", form.domain):
        raise OptionError(f"--domain {form.domain!r} is no domain: a-z, 0-9 and _")
    try:
        with _opened(Path(path)) as file:
            rows = list(_rows(str(path), csv.DictReader(file, strict=True), form, rule, wheres))
    except OSError as error:
        raise TraceError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (EOFError, zlib.error) as error:
        raise TraceError(f"{path}: cannot be unpacked: {error}") from error
    except UnicodeDecodeError as error:
        raise TraceError(f"{path}: not UTF-8 text") from error
    except csv.Error as error:
        raise TraceError(f"{path}: not CSV: {error}") from error
    if not rows:
        raise TraceError(f"{path}: no row is left to play")
    return _load(str(path), rows, form, rule)


def _opened(path: Path) -> TextIO:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")


def _load(source: str, rows: Sequence[_Row], form: TraceFormat, rule: TierRule) -> Load:
    tiers = {} if rule.column else rule.tiers_of(Counter(row.tenant for row in rows))
    first_ms, last_ms = min(row.at_ms for row in rows), max(row.at_ms for row in rows)
    factor = form.fit_ms / (last_ms - first_ms) if form.fit_ms and last_ms > first_ms else 1.0
    if wrong := outside_the_calendar(first_ms, first_ms + (last_ms - first_ms) * factor):
        raise TraceError(f"{source} {wrong}; --time-format says what its column {form.time_column!r} holds")
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
    return Load(Path(source).name, rows[0].action_type.split(".")[0], int(first_ms), arrivals)


def _rows(
    source: str,
    reader: csv.DictReader[str],
    form: TraceFormat,
    rule: TierRule,
    wheres: Sequence[tuple[str, str, bool]],
) -> Iterator[_Row]:
    if not form.type_column and "action_type" in (reader.fieldnames or ()):
        form = form._replace(type_column="action_type")
    needed = {
        "--time-column names another": [form.time_column],
        "--tenant-column names another, --invent-tenants makes some up": []
        if form.invent
        else [form.tenant_column],
        "--duration-column names another": [form.duration_column],
        "--type-column names another": [form.type_column] if form.type_column else [],
        "--tier-rule says who is on which tier": [rule.column] if rule.column else [],
        "--where names it": [column for column, _, _ in wheres],
    }
    _check_columns(source, reader.fieldnames or (), needed)
    unit_ms = trace_cells.unit_ms(form.duration_unit, form.duration_column)
    columns = _Columns(form, rule.column, unit_ms, wheres, _invented(form) if form.invent else None)
    count = 0
    for cells in reader:
        if None in cells.values() or None in cells:
            fewer = "fewer" if None in cells.values() else "more"
            raise TraceError(f"{source}: row {reader.line_num} has {fewer} columns than the first row")
        if any((cells[column] == value) != wanted for column, value, wanted in wheres):
            continue
        count += 1
        row = _row(_Cells(source, reader.line_num, cells), columns)
        domain = columns.form.domain or row.action_type.split(".")[0]
        columns = columns._replace(form=columns.form._replace(domain=domain))
        yield row
        if count == form.limit:
            return


def _invented(form: TraceFormat) -> Iterator[str]:
    draw = random.Random(f"{form.seed}/tenants")
    names = [f"tenant-{number}" for number in range(1, form.invent + 1)]
    weights = list(accumulate(number**-form.skew for number in range(1, form.invent + 1)))
    while True:
        yield from draw.choices(names, cum_weights=weights)


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


def _row(cells: _Cells, columns: _Columns) -> _Row:
    form = columns.form
    at_ms = cells.read(
        form.time_column, lambda text: trace_cells.time_ms(text, form.time_format, form.time_column)
    )
    ran = float(cells.read(form.duration_column, trace_cells.duration))
    kind = ""
    if form.type_column:
        kind = str(cells.read(form.type_column, lambda text: trace_cells.action_type(form.domain, text)))
    return _Row(
        float(at_ms),
        next(columns.tenants) if columns.tenants else str(cells.read(form.tenant_column, trace_cells.tenant)),
        max(round(min(ran * columns.unit_ms, _LONGEST_MS)), 1),
        kind or f"{form.domain or 'trace'}.action",
        str(cells.read(columns.tier, trace_cells.tier)) if columns.tier else "",
    )


def _where(text: str) -> tuple[str, str, bool]:
    column, sign, value = text.partition("=")
    if not sign or not column.removesuffix("!"):
        raise OptionError(f"--where {text!r} is no filter; write COLUMN=VALUE or COLUMN!=VALUE")
    return column.removesuffix("!"), value, not column.endswith("!")


def _check_columns(source: str, there: Sequence[str], needed: Mapping[str, Iterable[str]]) -> None:
    if not there:
        raise TraceError(f"{source}: row 1 names no columns; is the file empty?")
    for advice, columns in needed.items():
        for column in columns:
            if there.count(column) > 1:
                raise TraceError(f"{source}: row 1: two columns are named {column!r}")
            if column not in there:
                more = "" if len(there) > 1 else "; columns are separated by commas"
                raise TraceError(
                    f"{source}: row 1: no column {column!r}{nearest(column, there)}; "
                    f"it has {', '.join(there)}{more}; {advice}"
                )
