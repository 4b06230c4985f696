"""When a failed attempt is followed by another, and after how long."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nooble_tasks import ConfigurationError, InvalidAction, QueueUnavailable, RetryPolicy
from nooble_tasks.retry import NO_RETRY

attempts = st.integers(1, 10_000)
policies = st.builds(
    lambda first, more, factor: RetryPolicy(first_delay_s=first, max_delay_s=first + more, factor=factor),
    st.floats(0, 1e6),
    st.floats(0, 1e6),
    st.floats(1, 1e300),
)


@given(policies, attempts)
def test_a_pause_is_between_half_its_bound_and_its_bound(policy: RetryPolicy, attempt: int) -> None:
    delay_s = policy.delay_s(attempt)
    assert policy.first_delay_s / 2 <= delay_s <= policy.max_delay_s


@given(policies)
def test_the_first_pause_is_about_the_first_delay(policy: RetryPolicy) -> None:
    assert policy.first_delay_s / 2 <= policy.delay_s(1) <= policy.first_delay_s


def test_pauses_grow_by_the_factor_up_to_the_most() -> None:
    policy = RetryPolicy(first_delay_s=1, factor=10, max_delay_s=500)
    for attempt, bound in enumerate((1, 10, 100, 500, 500), start=1):
        drawn = [policy.delay_s(attempt) for _ in range(200)]
        assert bound / 2 <= min(drawn) < bound * 0.75 < max(drawn) <= bound


@pytest.mark.parametrize(
    "values",
    [
        {"max_attempts": 0},
        {"max_attempts": -1},
        {"first_delay_s": -0.1},
        {"first_delay_s": math.nan},
        {"factor": 0.99},
        {"factor": math.nan},
        {"factor": math.inf},
        {"first_delay_s": 2, "max_delay_s": 1},
        {"max_delay_s": math.inf},
        {"max_attempts": math.inf},
        {"max_attempts": None},
        {"max_attempts": True},
        {"max_attempts": 1_001},
        {"max_attempts": 31, "first_delay_s": 0},
        {"max_attempts": 1_000, "first_delay_s": 40_000, "max_delay_s": 40_000},
        {"max_retry_after_s": math.inf},
        {"first_delay_s": "1"},
        {"max_delay_s": True},
        {"max_retry_after_s": None},
        {"retry_on": int},
        {"retry_on": ValueError},
        {"retry_on": (ValueError, 5)},
        {"on": {"ValueError": RetryPolicy()}},
        {"on": {ValueError: 3}},
        {"on": {ValueError: RetryPolicy(on={KeyError: RetryPolicy()})}},
    ],
    ids=str,
)
def test_a_policy_that_makes_no_sense_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(values))):
        RetryPolicy(**values)


@pytest.mark.parametrize(
    ("error", "passing"),
    [
        (ConnectionResetError(), True),
        (TimeoutError(), True),
        (QueueUnavailable(), True),
        (InvalidAction(), False),
        (ValueError(), False),
        (OSError(), False),
    ],
    ids=repr,
)
def test_only_what_may_pass_is_tried_again(error: Exception, passing: bool) -> None:
    policy = RetryPolicy(max_attempts=3)
    assert [policy.allows(error, attempt) for attempt in (1, 2, 3)] == [passing, passing, False]
    assert not NO_RETRY.allows(error, 1)


def test_more_exception_types_can_be_named() -> None:
    policy = RetryPolicy(retry_on=(LookupError, InvalidAction))
    assert policy.is_passing(KeyError())
    assert policy.is_passing(InvalidAction())
    assert not policy.is_passing(ValueError())
