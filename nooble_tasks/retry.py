"""When a failed attempt is followed by another."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

from .errors import ConfigurationError, NoobleError


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """At most ``max_attempts`` attempts; between them exponential backoff with full jitter.

    The pause before attempt n+1 is drawn from 0 to ``first_delay_s · factorⁿ⁻¹``, at most ``max_delay_s``
    ("full jitter": M. Brooker, Exponential Backoff And Jitter, AWS Architecture Blog, 2015), and never below
    half of that bound, so that a pause is a pause. Only errors that may pass are retried: connection errors,
    time-outs and what calls itself retryable; ``retry_on`` adds exception types.
    """

    max_attempts: int = 3
    first_delay_s: float = 1.0
    factor: float = 3.0
    max_delay_s: float = 300.0
    retry_on: tuple[type[BaseException], ...] = ()

    def __post_init__(self) -> None:
        if self.max_attempts < 1:
            raise ConfigurationError(f"max_attempts must be at least 1, not {self.max_attempts}")
        if not (0 <= self.first_delay_s <= self.max_delay_s < math.inf and 1 <= self.factor < math.inf):
            raise ConfigurationError(
                "a retry policy needs finite numbers with 0 <= first_delay_s <= max_delay_s and factor >= 1"
            )

    def allows(self, error: BaseException, attempt: int) -> bool:
        """Whether ``error`` at ``attempt`` (counted from 1) is followed by another attempt."""
        return attempt < self.max_attempts and self.is_passing(error)

    def is_passing(self, error: BaseException) -> bool:
        """Whether the same attempt might succeed later."""
        if isinstance(error, self.retry_on):
            return True
        if isinstance(error, NoobleError):
            return error.retryable
        return isinstance(error, ConnectionError | TimeoutError)

    def delay_s(self, attempt: int) -> float:
        """Seconds to wait after a failed ``attempt``."""
        try:
            bound = min(self.first_delay_s * self.factor ** (attempt - 1), self.max_delay_s)
        except OverflowError:  # more than any float
            bound = self.max_delay_s if self.first_delay_s else 0.0
        return random.uniform(bound / 2, bound)


NO_RETRY = RetryPolicy(max_attempts=1)
