"""Numbers and moments in sentences."""

from __future__ import annotations

from datetime import UTC, datetime


def counted(number: int, noun: str) -> str:
    """``1 action``, ``2,000 actions``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def nth(number: int) -> str:
    """``1st``, ``2nd``, ``13th``."""
    ending = "th" if 10 <= number % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number:,}{ending}"


def moment(at_ms: int) -> str:
    """``2030-01-31 09:00:00Z``; up to the next second, so that it is not too early."""
    return f"{datetime.fromtimestamp(-(-at_ms // 1000), UTC):%Y-%m-%d %H:%M:%S}Z"


def past(at_ms: int) -> str:
    """The same of what has been, to the second that it was in."""
    return moment(at_ms - at_ms % 1_000)


def span(milliseconds: int) -> str:
    """``40 ms``, ``1.2 s``, ``35 s``, ``3 min``, ``5 h``, ``12 days``."""
    if milliseconds < 1_000:
        return f"{max(milliseconds, 0)} ms"
    seconds = milliseconds / 1_000
    if seconds < 10:
        return f"{seconds:.1f} s"
    for unit, size, most in (("s", 1, 120), ("min", 60, 120), ("h", 3_600, 48)):
        if seconds < most * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds / 86_400:.0f} days"
