"""The budget of retries, under a clock by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nooble_tasks import ConfigurationError, RetryBudget
from nooble_tasks._engine import ManualClock
from nooble_tasks.retry_budget import BudgetBook

NOW = 1_750_000_000_000


def book(**values: float) -> tuple[BudgetBook, ManualClock]:
    clock = ManualClock(NOW)
    return BudgetBook(RetryBudget(**values), clock), clock


def test_with_tokens_a_retry_starts_when_it_wants() -> None:
    kept, _ = book(tokens=3)
    assert [kept.place(NOW + n) for n in range(3)] == [NOW, NOW + 1, NOW + 2]


def test_without_tokens_retries_go_on_at_a_steady_rate() -> None:
    kept, _ = book(tokens=1, retries_per_s=2, max_delay_s=2)
    assert kept.place(NOW) == NOW
    assert [kept.place(NOW) for _ in range(6)] == [
        NOW,
        NOW + 500,
        NOW + 1_000,
        NOW + 1_500,
        NOW + 2_000,
        None,
    ]
    assert kept.place(NOW + 60_000) is None, "a late one takes a place as well"


def test_one_that_wants_to_start_late_keeps_nobody_waiting() -> None:
    kept, _ = book(tokens=0, retries_per_s=1)
    assert kept.place(NOW + 300_000) == NOW + 300_000
    assert kept.place(NOW) == NOW + 1_000


def test_successes_give_tokens_back_up_to_all_of_them() -> None:
    kept, _ = book(tokens=2, per_success=0.5, retries_per_s=0)
    assert [kept.place(NOW) for _ in range(3)] == [NOW, NOW, None]
    kept.succeeded()
    assert kept.place(NOW) is None
    kept.succeeded()
    assert kept.place(NOW) == NOW
    for _ in range(100):
        kept.succeeded()
    assert [kept.place(NOW) for _ in range(3)] == [NOW, NOW, None]


def test_time_frees_places() -> None:
    kept, clock = book(tokens=0, retries_per_s=1, max_delay_s=0)
    assert [kept.place(NOW), kept.place(NOW)] == [NOW, None]
    clock.advance(1_000)
    assert kept.place(clock.now_ms()) == NOW + 1_000


@given(
    tokens=st.integers(0, 50),
    rate=st.sampled_from([0.5, 1.0, 10.0]),
    failures=st.lists(st.integers(0, 2_000), max_size=300),
)
def test_an_outage_never_causes_more_retries_than_the_budget(
    tokens: int, rate: float, failures: list[int]
) -> None:
    """R26: attempts stay within the budget, whenever the failures come."""
    kept, clock = book(tokens=tokens, retries_per_s=rate, max_delay_s=30)
    places = []
    for pause_ms in failures:
        clock.advance(pause_ms)
        place = kept.place(clock.now_ms())
        if place is not None:
            assert place <= clock.now_ms() + 30_000
            places.append(place)
    for until in places:
        started = sum(place <= until for place in places)
        assert started <= tokens + 1 + (until - NOW) * rate / 1000 + 1e-6


@pytest.mark.parametrize(
    "values", [{"tokens": -1}, {"per_success": math.nan}, {"max_delay_s": math.inf}], ids=str
)
def test_a_budget_that_makes_no_sense_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(values))):
        RetryBudget(**values)
