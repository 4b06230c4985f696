"""Who asks for what, when: the input of a simulation, wherever it comes from."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

LATEST_MS = int(datetime(9000, 1, 1, tzinfo=UTC).timestamp() * 1000)
"""No load begins or sends later: the calendar needs a thousand years for what quotas hold back."""


class Arrival(NamedTuple):
    """One action: ``at_ms`` after the load's beginning it is enqueued; it runs for ``run_ms``."""

    at_ms: int
    tenant: str
    tier: str
    run_ms: int
    action_type: str


def outside_the_calendar(from_ms: float, until_ms: float) -> str:
    """What is wrong with a load that lasts so long, or nothing."""
    if from_ms < 0:
        return "begins before 1970"
    return "ends after the year 9000" if until_ms > LATEST_MS else ""


class Load(NamedTuple):
    """Arrivals in their order. ``start_ms``: when the load begins (epoch), which calendar quotas go by."""

    name: str
    domain: str
    start_ms: int
    arrivals: Sequence[Arrival]

    def tiers(self) -> list[str]:
        """The tiers it names."""
        return sorted({arrival.tier for arrival in self.arrivals})
