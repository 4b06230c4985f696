"""When a failed attempt is followed by another."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass, field

from .errors import ConfigurationError, NoobleError
from .retry_after import http_may_pass, retry_after_s

MOST_ATTEMPTS = 1_000
MOST_ATTEMPTS_AT_ONCE = 30
LONGEST_S = 366 * 86_400.0


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """At most ``max_attempts`` attempts; between them exponential backoff with jitter.

    The pause before attempt n+1 is drawn from 0 to ``first_delay_s · factorⁿ⁻¹``, at most ``max_delay_s``
    ("full jitter": M. Brooker, Exponential Backoff And Jitter, AWS Architecture Blog, 2015), and never below
    half of that bound, so that a pause is a pause. An error that says how long to wait (``retry_after_s``,
    ``retry_after``, an HTTP response 429 or 503 with ``Retry-After``) is heard, up to ``max_retry_after_s``:
    the next attempt comes no earlier.

    Only errors that may pass are retried: connection errors, time-outs, what calls itself retryable, HTTP
    responses 408, 425, 429, 502, 503, 504; ``retry_on`` adds exception types. ``on`` gives exception types
    policies of their own, ``NO_RETRY`` for those never to be retried; the nearest base class counts.

    Raises ConfigurationError for a policy that makes no sense or never ends.
    """

    max_attempts: int = 3
    first_delay_s: float = 1.0
    factor: float = 3.0
    max_delay_s: float = 300.0
    retry_on: tuple[type[BaseException], ...] = ()
    max_retry_after_s: float = 3_600.0
    on: Mapping[type[BaseException], RetryPolicy] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        if isinstance(self.max_attempts, bool) or not isinstance(self.max_attempts, int):
            raise ConfigurationError(
                f"max_attempts must be a whole number, not {self.max_attempts!r}: a policy without an end "
                "would keep a broken action running for ever"
            )
        if not 1 <= self.max_attempts <= MOST_ATTEMPTS:
            raise ConfigurationError(
                f"max_attempts must be at least 1 and at most {MOST_ATTEMPTS:,}, not {self.max_attempts:,}; "
                "to wait for something, raise Snooze, which spends no attempt"
            )
        for name in ("first_delay_s", "factor", "max_delay_s", "max_retry_after_s"):
            _check_number(name, getattr(self, name))
        if self.first_delay_s > self.max_delay_s or self.factor < 1:
            raise ConfigurationError(
                "a retry policy needs first_delay_s <= max_delay_s and factor >= 1, not "
                f"first_delay_s={self.first_delay_s:g}, max_delay_s={self.max_delay_s:g}, "
                f"factor={self.factor:g}"
            )
        if self.max_retry_after_s > LONGEST_S:
            raise ConfigurationError(
                f"max_retry_after_s must be 0 to {LONGEST_S:g}, not {self.max_retry_after_s:g}"
            )
        _check_kinds(self.retry_on)
        self._refuse_endless()
        for kind, policy in self.on.items():
            _check_rule(kind, policy)

    def _refuse_endless(self) -> None:
        if not self.first_delay_s and self.max_attempts > MOST_ATTEMPTS_AT_ONCE:
            raise ConfigurationError(
                f"max_attempts={self.max_attempts} with first_delay_s=0 is a busy loop; give a delay, or at "
                f"most {MOST_ATTEMPTS_AT_ONCE} attempts"
            )
        total_s = sum(self._bound_s(attempt) for attempt in range(1, self.max_attempts))
        if total_s > LONGEST_S:
            raise ConfigurationError(
                f"max_attempts={self.max_attempts} with max_delay_s={self.max_delay_s:g} may take "
                f"{total_s / 86_400:,.0f} days; lower one of them, a year is the most"
            )

    def for_error(self, error: BaseException) -> RetryPolicy:
        """The policy that counts for an error: of its class or its nearest base in `on`, else this one."""
        if self.on:
            for kind in type(error).__mro__:
                if kind in self.on:
                    return self.on[kind]
        return self

    def allows(self, error: BaseException, attempt: int) -> bool:
        """Whether ``error`` at ``attempt`` (counted from 1) is followed by another attempt."""
        policy = self.for_error(error)
        return attempt < policy.max_attempts and (policy is not self or self.is_passing(error))

    def is_passing(self, error: BaseException) -> bool:
        """Whether the same attempt might succeed later."""
        if isinstance(error, self.retry_on):
            return True
        if isinstance(error, NoobleError):
            return error.retryable
        of_http = http_may_pass(error)
        return isinstance(error, ConnectionError | TimeoutError) if of_http is None else of_http

    def delay_s(self, attempt: int, error: BaseException | None = None, now_ms: int = 0) -> float:
        """Seconds to wait after a failed ``attempt``; no less than ``error`` asks for."""
        policy = self if error is None else self.for_error(error)
        bound = policy._bound_s(attempt)
        delay_s = random.uniform(bound / 2, bound)
        asked_s = None if error is None else retry_after_s(error, now_ms)
        return delay_s if asked_s is None else max(delay_s, min(asked_s, policy.max_retry_after_s))

    def _bound_s(self, attempt: int) -> float:
        try:
            return min(self.first_delay_s * self.factor ** (attempt - 1), self.max_delay_s)
        except OverflowError:  # more than any float
            return self.max_delay_s if self.first_delay_s else 0.0


def _check_number(name: str, value: object) -> None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not (is_number and 0 <= value < math.inf):  # type: ignore[operator]
        raise ConfigurationError(
            f"{name} of a retry policy must be a finite number, zero or more, not {value!r}"
        )


def _check_kinds(kinds: object) -> None:
    if not isinstance(kinds, tuple):
        raise ConfigurationError(
            f"retry_on is a tuple of exception types such as (ValueError,), not {kinds!r}"
        )
    for kind in kinds:
        if not (isinstance(kind, type) and issubclass(kind, BaseException)):
            raise ConfigurationError(f"retry_on has {kind!r}, which is no exception type")


def _check_rule(kind: object, policy: object) -> None:
    if not (isinstance(kind, type) and issubclass(kind, BaseException)):
        raise ConfigurationError(f"on={{{kind!r}: …}}: {kind!r} is no exception type")
    if not isinstance(policy, RetryPolicy):
        raise ConfigurationError(f"on={{{kind.__name__}: …}} needs a RetryPolicy, not {policy!r}")
    if policy.on:
        raise ConfigurationError(f"on={{{kind.__name__}: …}}: the policy of an exception type has no `on`")


NO_RETRY = RetryPolicy(max_attempts=1)
