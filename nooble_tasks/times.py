"""Checks of the times that a user may pass: delays and moments."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from .errors import InvalidTime

MAX_DELAY_S = 100 * 366 * 86_400  # what is later is a mistake, and no calendar or script copes with it


def delay_seconds(value: float | timedelta, field: str = "delay") -> float:
    """A delay as seconds; InvalidTime when it is negative, not finite, over a century or no number."""
    if isinstance(value, timedelta):
        seconds = value.total_seconds()
    elif isinstance(value, int | float) and not isinstance(value, bool):
        seconds = float(value)
    else:
        raise InvalidTime(f"{field} must be seconds or a timedelta, not {type(value).__name__}")
    if not math.isfinite(seconds) or seconds < 0:
        raise InvalidTime(f"{field} must be zero or more seconds and finite, not {seconds}")
    if seconds > MAX_DELAY_S:
        raise InvalidTime(f"{field} must be less than 100 years, not {seconds:g} seconds")
    return seconds


def aware(value: datetime, field: str = "time") -> datetime:
    """The datetime itself; InvalidTime when it carries no time zone."""
    if not isinstance(value, datetime):
        raise InvalidTime(f"{field} must be a datetime with a time zone, not {type(value).__name__}")
    if value.utcoffset() is None:
        raise InvalidTime(
            f"{field} {value.isoformat()} has no time zone; use datetime.now(timezone.utc) or add tzinfo"
        )
    return value


def moment(value: datetime | float | timedelta | None, name: str) -> datetime | None:
    """A moment, or one so many seconds from now; raises InvalidTime."""
    if value is None:
        return None
    if isinstance(value, datetime):
        return aware(value, name)
    return datetime.now(UTC) + timedelta(seconds=delay_seconds(value, name))


def due_ms(delay: float | timedelta | None, run_at: datetime | None, now_ms: Callable[[], int]) -> int:
    """When an action is due (epoch ms), 0 for now; raises InvalidTime."""
    if delay is not None and run_at is not None:
        raise InvalidTime("give delay or run_at, not both")
    if delay is not None:
        seconds = delay_seconds(delay)
        return now_ms() + int(seconds * 1000) if seconds else 0
    if run_at is None:
        return 0
    at_ms = int(aware(run_at, "run_at").timestamp() * 1000)
    if at_ms - now_ms() > MAX_DELAY_S * 1000:
        raise InvalidTime(f"run_at must be less than 100 years away, not {run_at.isoformat()}")
    return at_ms
