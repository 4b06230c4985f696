"""Lengths of time as people write them."""

from __future__ import annotations

import math
import re

_UNITS = {"ms": 1, "s": 1_000, "m": 60_000, "min": 60_000, "h": 3_600_000, "d": 86_400_000}
_SPAN = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|min|m|h|d)\s*")


def span_ms(text: str | float) -> int:
    """``250ms``, ``2s``, ``1.5h``, ``30min``, ``1d``, or a number of seconds, in ms; raises ValueError."""
    if isinstance(text, bool) or (not isinstance(text, str) and not math.isfinite(text)):
        raise ValueError(f"{text!r} is no length of time")
    if not isinstance(text, str):
        return _not_negative(round(text * 1_000))
    if re.fullmatch(r"\s*\d+(\.\d+)?\s*", text):
        return _not_negative(round(float(text) * 1_000))
    found = _SPAN.fullmatch(text)
    if not found:
        raise ValueError(f"{text!r} is no length of time; write 250ms, 2s, 30min, 1.5h or 1d")
    return round(float(found[1]) * _UNITS[found[2]])


def _not_negative(ms: int) -> int:
    if ms < 0:
        raise ValueError("a length of time is not negative")
    return ms


def span_text(ms: int) -> str:
    """As people write it: 250ms, 2s, 1.5h, 30min, 1d; read by :func:`span_ms` it is the same again."""
    for unit in ("d", "h", "min", "s"):
        if ms and ms % (_UNITS[unit] // 2) == 0 and ms >= _UNITS[unit]:
            return f"{ms / _UNITS[unit]:g}{unit}"
    return f"{ms}ms" if ms < 1_000 else f"{ms / 1_000!r}s"
