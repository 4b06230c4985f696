"""Rate limits and quotas, in plain Python without I/O: what the scripts must decide.

This is the oracle of ``scripts/lib/limits.lua``. Decisions equal those of the ``limits`` package's strategy
of the same name on the same instants (``limits`` 5.8, its in-memory storage), except ``calendar``, which is
ours: it resets at the period's start in a time zone.

Workers' clocks differ by a little: a state written by a clock that is ahead is kept and counted on, never
replaced by an older window, else each window's edge would let a few more through.

Times are whole epoch milliseconds. A state is what is remembered for one limit of one scope; ``None`` is
"nothing yet".
"""

from __future__ import annotations

from bisect import bisect_left
from enum import StrEnum
from typing import Any, NamedTuple

MAX_MOVING_WINDOW = 10_000
"""Largest amount of a moving window: it remembers every start (6 bytes each)."""


class Strategy(StrEnum):
    """How starts are counted against a limit."""

    MOVING_WINDOW = "moving-window"
    FIXED_WINDOW = "fixed-window"
    SLIDING_WINDOW_COUNTER = "sliding-window-counter"
    CALENDAR = "calendar"


_KEY_OF = {
    Strategy.MOVING_WINDOW: "m",
    Strategy.FIXED_WINDOW: "f",
    Strategy.SLIDING_WINDOW_COUNTER: "s",
    Strategy.CALENDAR: "c",
}


class Limit(NamedTuple):
    """At most ``amount`` starts in ``window_ms``.

    ``name`` identifies it in usage and messages (``10/minute``). ``period`` names the calendar period of a
    calendar quota (see :mod:`scheduler.calendar`), else it is empty.
    """

    name: str
    strategy: Strategy
    amount: int
    window_ms: int
    period: str = ""

    @property
    def key(self) -> str:
        """Under which its state is kept: what it counts, not how many it allows. So what was used counts on
        when a published policy changes the amount."""
        return _KEY_OF[self.strategy] + (self.period.rpartition(" ")[0] or str(self.window_ms))

    def wire(self) -> list[Any]:
        """As the scripts know it."""
        return [*self, self.key]


class Period(NamedTuple):
    """A calendar period: starts at ``start_ms``, ends before ``end_ms``."""

    start_ms: int
    end_ms: int


class Allowance(NamedTuple):
    """How many starts a limit allows now; when it allows none, ``free_at_ms`` says when it will."""

    starts: int
    free_at_ms: int


def allowance(limit: Limit, state: Any, now_ms: int, period: Period | None = None) -> Allowance:
    """How many starts ``limit`` allows at ``now_ms`` in ``state``."""
    match limit.strategy:
        case Strategy.MOVING_WINDOW:
            return _moving_window(limit, state or [], now_ms)
        case Strategy.FIXED_WINDOW:
            end_ms, count = state or (0, 0)
            left = limit.amount - (count if now_ms < end_ms else 0)
            return Allowance(max(left, 0), end_ms)
        case Strategy.SLIDING_WINDOW_COUNTER:
            return _sliding_window(limit, state, now_ms)
        case Strategy.CALENDAR:
            assert period is not None
            start_ms, count = state or (0, 0)
            left = limit.amount - (count if start_ms >= period.start_ms else 0)
            return Allowance(max(left, 0), period.end_ms)


class Standing(NamedTuple):
    """What is left of a limit, when there will be more, and when all of it is back (ms; 0: unused)."""

    left: int
    more_at_ms: int
    full_at_ms: int


def standing(limit: Limit, state: Any, now_ms: int, period: Period | None = None) -> Standing:
    """How ``limit`` stands at ``now_ms``, for whoever looks at it; no decision rests on it."""
    left, more_at_ms = allowance(limit, state, now_ms, period)
    if left == limit.amount:
        return Standing(left, 0, 0)
    if limit.strategy is Strategy.SLIDING_WINDOW_COUNTER and left > 0:
        more_at_ms = _sliding_more_at(limit, state, now_ms)
    return Standing(left, more_at_ms, worthless_at(limit, state, period))


def spend(limit: Limit, state: Any, now_ms: int, starts: int, period: Period | None = None) -> Any:
    """The state after ``starts`` starts at ``now_ms``."""
    match limit.strategy:
        case Strategy.MOVING_WINDOW:
            kept = state or []
            at_ms = max(now_ms, kept[-1]) if kept else now_ms
            live = kept[bisect_left(kept, at_ms - limit.window_ms) :]
            return (live + [at_ms] * starts)[-limit.amount :]
        case Strategy.FIXED_WINDOW:
            end_ms, count = state or (0, 0)
            if now_ms >= end_ms:
                end_ms, count = now_ms + limit.window_ms, 0
            return (end_ms, count + starts)
        case Strategy.SLIDING_WINDOW_COUNTER:
            index, previous, current, _ = _rolled(limit, state, now_ms)
            return (index, previous, current + starts)
        case Strategy.CALENDAR:
            assert period is not None
            start_ms, count = state or (0, 0)
            if start_ms < period.start_ms:
                return (period.start_ms, starts)
            return (start_ms, count + starts)


def unspend(limit: Limit, state: Any, at_ms: int) -> Any:
    """The state without one start that was counted at ``at_ms`` and never began; None when nothing is left.

    It is given back only where that cannot let more through than the limit allows: a moving window forgets
    exactly that start, the others count one less where the window in which it was counted still says
    something. A clock that was behind may have counted it later than ``at_ms``: at the newest start of a
    moving window, or in a window or period that began after it. Then it stays counted; of a sliding window
    one goes from the window before, which weighs less, if ``at_ms`` lies in that one.
    """
    match limit.strategy:
        case Strategy.MOVING_WINDOW:
            first = bisect_left(state, at_ms)
            if first < len(state) and state[first] == at_ms:
                state = state[:first] + state[first + 1 :]
            return state or None
        case Strategy.FIXED_WINDOW:
            end_ms, count = state
            count -= end_ms - limit.window_ms <= at_ms < end_ms
            return (end_ms, count) if count > 0 else None
        case Strategy.SLIDING_WINDOW_COUNTER:
            index, previous, current = state
            past = index - at_ms // limit.window_ms
            previous, current = max(previous - (past == 1), 0), max(current - (past == 0), 0)
            return (index, previous, current) if previous + current else None
        case Strategy.CALENDAR:
            start_ms, count = state
            count -= at_ms >= start_ms
            return (start_ms, count) if count > 0 else None


def worthless_at(limit: Limit, state: Any, period: Period | None = None) -> int:
    """When ``state`` no longer says anything (ms): it can be forgotten then."""
    match limit.strategy:
        case Strategy.MOVING_WINDOW:
            return int(state[-1]) + limit.window_ms + 1
        case Strategy.FIXED_WINDOW:
            return int(state[0])
        case Strategy.SLIDING_WINDOW_COUNTER:
            return (int(state[0]) + 2) * limit.window_ms
        case Strategy.CALENDAR:
            assert period is not None
            if state[0] > period.start_ms:
                return int(state[0]) + 2 * limit.window_ms
            return period.end_ms


def _moving_window(limit: Limit, starts: list[int], now_ms: int) -> Allowance:
    # `limits` refuses while the amount-th latest start is at or after now - window.
    first = bisect_left(starts, now_ms - limit.window_ms)
    left = limit.amount - (len(starts) - first)
    binding = first - min(left, 0)  # more starts than the amount: it was lowered
    free_at = starts[binding] + limit.window_ms + 1 if binding < len(starts) else 0
    return Allowance(max(left, 0), free_at)


def _rolled(limit: Limit, state: Any, now_ms: int) -> tuple[int, int, int, int]:
    """Window index, previous count, current count, and how much of the window is left (ms) at ``now_ms``."""
    index = now_ms // limit.window_ms
    left = limit.window_ms - now_ms % limit.window_ms
    seen, previous, current = state or (index, 0, 0)
    if index < seen:
        return seen, previous, current, limit.window_ms
    if index == seen:
        return index, previous, current, left
    return index, (current if index == seen + 1 else 0), 0, left


def _sliding_window(limit: Limit, state: Any, now_ms: int) -> Allowance:
    window = limit.window_ms
    index, previous, current, remaining = _rolled(limit, state, now_ms)
    left = limit.amount - previous * remaining // window - current
    if left > 0:
        return Allowance(left, 0)
    end_ms = (index + 1) * window
    if current < limit.amount:
        return Allowance(0, end_ms - _remaining_that_frees(limit, previous, limit.amount - current))
    return Allowance(0, end_ms + window - _remaining_that_frees(limit, current, limit.amount))


def _sliding_more_at(limit: Limit, state: Any, now_ms: int) -> int:
    index, previous, current, remaining = _rolled(limit, state, now_ms)
    end_ms, weight = (index + 1) * limit.window_ms, previous * remaining // limit.window_ms
    if weight:
        return end_ms - _remaining_that_frees(limit, previous, weight)
    return end_ms + limit.window_ms - _remaining_that_frees(limit, current, current)


def _remaining_that_frees(limit: Limit, previous: int, room: int) -> int:
    """Largest remainder of a window (ms) at which ``previous`` weighs less than ``room``."""
    return min(limit.window_ms, -(-room * limit.window_ms // previous) - 1)
