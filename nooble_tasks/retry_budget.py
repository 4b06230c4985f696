"""A budget of retries, so that a downstream that is ill is not killed by those who try again.

Retries of single requests back off, but together they multiply the load: with three attempts each, an outage
triples it. RPC clients bound the retries of a whole client by a token bucket: gRPC (gRFC A6, retry
throttling), Finagle and tower (a share of the requests plus a minimum per second), the AWS SDKs (quota).

Those drop a retry when nothing is left. A queue can wait: here it is put off to the next free place of a
steady, low rate, and dropped only when that would take too long. Like theirs the budget belongs to one
process, a worker, per domain: it costs no round trip, works while Redis is in trouble, and follows each
worker's own share of the load. Under a total outage a fleet's retries are thus at most workers x
``retries_per_s``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from ._engine import Clock
from .errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class RetryBudget:
    """How many retries a worker may cause in a domain.

    A retry takes one of ``tokens``, a success gives back ``per_success``. Without a token retries go on at
    ``retries_per_s``, put off as far as necessary; one that would be put off by more than ``max_delay_s`` is
    dropped: the action ends as if no attempt were left. Raises ConfigurationError.
    """

    tokens: float = 100.0
    per_success: float = 0.2
    retries_per_s: float = 10.0
    max_delay_s: float = 900.0

    def __post_init__(self) -> None:
        for name in ("tokens", "per_success", "retries_per_s", "max_delay_s"):
            value = getattr(self, name)
            if not 0 <= value < math.inf:
                raise ConfigurationError(
                    f"{name} of a retry budget must be 0 or more and finite, not {value}"
                )


class BudgetBook:
    """What is left of a budget."""

    def __init__(self, budget: RetryBudget, clock: Clock) -> None:
        self._budget = budget
        self._clock = clock
        self._tokens = budget.tokens
        self._next_ms = 0.0

    def succeeded(self) -> None:
        """An attempt succeeded."""
        if self._tokens < self._budget.tokens:
            self._tokens = min(self._tokens + self._budget.per_success, self._budget.tokens)

    def place(self, due_ms: int) -> int | None:
        """When a retry that is wanted at `due_ms` may start; None when it may not."""
        if self._tokens >= 1:
            self._tokens -= 1
            return due_ms
        now_ms = self._clock.now_ms()
        free_ms, rate = max(self._next_ms, now_ms), self._budget.retries_per_s
        if not rate or free_ms - now_ms > self._budget.max_delay_s * 1000:
            return None
        self._next_ms = free_ms + 1000 / rate
        return max(due_ms, math.ceil(free_ms))
