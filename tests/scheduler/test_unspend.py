"""What never began is given back to its limits as far as that lets no more through, whoever counted it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.calendar import period_at
from scheduler.limits import Limit, Strategy, allowance, spend, unspend
from tests.scheduler.test_limits import limit_of
from tests.scheduler.world import DAY, NOW

EDGE = NOW - NOW % DAY
"""Where windows and periods of every length begin."""

BEFORE, AFTER = EDGE - 10, EDGE + 10


def counted(limit: Limit, *times_ms: int) -> Any:
    """The state after a start at each of these times, in this order: an earlier one is by a clock behind."""
    state = None
    for at_ms in times_ms:
        period = period_at(limit.period, at_ms) if limit.period else None
        state = spend(limit, state, at_ms, 1, period)
    return state


@pytest.mark.parametrize("strategy", list(Strategy))
def test_a_start_is_given_back_where_it_was_counted(strategy: Strategy) -> None:
    limit = limit_of(strategy)
    assert unspend(limit, counted(limit, AFTER), AFTER) is None
    assert unspend(limit, counted(limit, AFTER, AFTER + 5), AFTER + 5) == counted(limit, AFTER)


@pytest.mark.parametrize("strategy", list(Strategy))
def test_one_that_was_counted_later_than_its_time_stays(strategy: Strategy) -> None:
    """The clock was so far behind that it counts where its time does not lie."""
    limit = limit_of(strategy)
    state = counted(limit, AFTER, BEFORE)
    assert unspend(limit, state, BEFORE) == state


def test_of_a_sliding_window_one_goes_from_the_window_before() -> None:
    limit = limit_of(Strategy.SLIDING_WINDOW_COUNTER)
    state = counted(limit, BEFORE, BEFORE, AFTER, BEFORE)
    index, previous, current = state
    assert (previous, current) == (2, 2)
    assert unspend(limit, state, BEFORE) == (index, 1, 2)
    assert unspend(limit, state, BEFORE - limit.window_ms) == state


@given(
    strategy=st.sampled_from([Strategy.MOVING_WINDOW, Strategy.CALENDAR]),
    steps=st.lists(st.tuples(st.integers(0, 9_000), st.integers(0, 900), st.booleans()), max_size=80),
)
@settings(max_examples=300, deadline=None)
def test_no_window_is_exceeded_when_clocks_differ_and_some_is_given_back(
    strategy: Strategy, steps: list[tuple[int, int, bool]]
) -> None:
    """Every second step that finds one gives back the oldest start that never began."""
    limit = limit_of(strategy)
    true_ms, state = EDGE - 30_000, None
    begun: list[tuple[int, int]] = []
    never_began: list[int] = []
    for gap, behind, begins in steps:
        true_ms += gap
        now = true_ms - behind
        if gap % 2 and never_began and state is not None:
            state = unspend(limit, state, never_began.pop(0))
        period = period_at(limit.period, now) if limit.period else None
        if allowance(limit, state, now, period).starts:
            state = spend(limit, state, now, 1, period)
            if begins:
                begun.append((now, true_ms))
            else:
                never_began.append(now)
    for end, truly_end in begun:
        if strategy is Strategy.MOVING_WINDOW:
            window = [at for at, _ in begun if end - limit.window_ms + 900 < at <= end]
        else:
            window = [at for _, at in begun if at // DAY == truly_end // DAY and at % DAY > 900]
        assert len(window) <= limit.amount
