"""How a cell of a trace is read: a time, a length of time, a name. What is wrong is told by a ValueError."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime

from .errors import OptionError
from .spans import span_ms

_UNITS = {"s": 1_000.0, "ms": 1.0, "us": 0.001}
_ENDINGS = {
    "s": ("_s", "_sec", "_secs", "_seconds"),
    "ms": ("_ms", "_millis", "_milliseconds"),
    "us": ("_us", "_micros", "_microseconds"),
}
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]{0,127}")
_TYPE = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*){1,4}")
_OFFSET = datetime(1970, 1, 1, tzinfo=UTC)


def unit_in_name(column: str) -> str:
    """``s``, ``ms`` or ``us`` where a column's name ends so, as ``run_ms`` does; else nothing."""
    name = column.lower()
    return next((unit for unit, endings in _ENDINGS.items() if name.endswith(endings)), "")


def unit_ms(unit: str, column: str) -> float:
    """How long one of a column is, in ms: a unit, or a length of time such as ``25ms`` of each token.

    ``auto``: what the column's name says.
    """
    if unit == "auto":
        unit = unit_in_name(column)
        if not unit:
            raise OptionError(
                f"what is 1 in the column {column!r}? Its name does not say; "
                "add --duration-unit: s, ms, us, or as 25ms"
            )
    if unit in _UNITS:
        return _UNITS[unit]
    try:
        ms = span_ms(unit)
    except ValueError:
        ms = 0
    if not ms or not re.search("[a-z]", unit):
        raise OptionError(
            f"--duration-unit {unit!r} is no unit; write s, ms, us, or a length of time as 25ms"
        )
    return float(ms)


def time_ms(text: str, form: str, column: str = "") -> float:
    """A moment, ms since 1970. ``form``: that of :class:`TraceFormat`."""
    if not text:
        raise ValueError("is empty")
    if form in ("s", "ms") or (form == "auto" and _NUMBER.fullmatch(text)):
        number = _number(text)
        if form == "auto":
            form = unit_in_name(column) or ("ms" if number >= 1e11 else "s")
        return number * _UNITS[form]
    try:
        when = datetime.fromisoformat(text) if form in ("auto", "iso") else datetime.strptime(text, form)  # noqa: DTZ007
    except ValueError:
        wanted = "an ISO 8601 time" if form in ("auto", "iso") else f"a time of the form {form!r}"
        raise ValueError(f"is not {wanted}; --time-format says what it is") from None
    when = when if when.tzinfo else when.replace(tzinfo=UTC)
    return (when - _OFFSET).total_seconds() * 1000


def duration(text: str) -> float:
    """How long it ran, in the column's own unit."""
    if not text:
        raise ValueError("is empty; leave such rows out with a filter")
    number = _number(text)
    if number < 0:
        raise ValueError("is negative")
    return number


def tenant(text: str) -> str:
    """A tenant id."""
    if not _ID.fullmatch(text):
        raise ValueError("is no tenant id: 1 to 128 of A-Z a-z 0-9 _ . -")
    return text


def tier(text: str) -> str:
    """The name of a tier; which there are, the policy says."""
    if not text:
        raise ValueError("is empty: the tenant has no tier")
    return text


def action_type(domain: str, text: str) -> str:
    """An action type of ``domain``; any other text is made one."""
    if _TYPE.fullmatch(text) and text.startswith(f"{domain}." if domain else ""):
        return text
    name = re.sub(r"[^a-z0-9_]+", "_", text.lower()).strip("_")
    if not name:
        raise ValueError("is no action type")
    return f"{domain or 'trace'}.{name if name[0].isalpha() else f't_{name}'}"


def _number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        raise ValueError("is no number") from None
    if not math.isfinite(number):
        raise ValueError("is no finite number")
    return number
