"""Numbers for people: quantiles, durations, counts."""

from __future__ import annotations

from collections.abc import Sequence

DASH = "–"


def quantile(values: Sequence[float], share: float) -> float | None:
    """The smallest value that at least `share` of the values do not exceed; None of nothing."""
    if not values:
        return None
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]


def duration(milliseconds: float | None) -> str:
    """Two or three digits that matter, with a unit: 4 ms, 1.2 s, 35 s, 2.1 min, 11.4 h, 20 days."""
    if milliseconds is None:
        return DASH
    if milliseconds < 999.5:
        return f"{milliseconds:.0f} ms"
    seconds = milliseconds / 1_000
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    if seconds < 5_997:
        return f"{seconds / 60:.1f} min"
    days = seconds / 86_400
    if days < 2:
        return f"{seconds / 3_600:.1f} h"
    return f"{days:.1f} days" if days < 9.95 else f"{days:,.0f} days"


def count(number: int) -> str:
    """12,345; a dash for nothing, so that what is there stands out."""
    return f"{number:,}" if number else DASH


def rate(per_second: float) -> str:
    """Per second: 0.3, 12, 4,500."""
    if not per_second:
        return DASH
    return f"{per_second:.1f}" if per_second < 10 else f"{per_second:,.0f}"


def bytes_of(number: int) -> str:
    """2.4 MB."""
    return f"{number / 1_000_000:.1f} MB" if number >= 100_000 else f"{number / 1_000:.0f} kB"


def moment(at_ms: int) -> str:
    """A moment to come in UTC, up to the next second, so that it is not too early: 2030-01-31 09:00:00Z."""
    from datetime import UTC, datetime

    return f"{datetime.fromtimestamp(-(-at_ms // 1000), UTC):%Y-%m-%d %H:%M:%S}Z"
