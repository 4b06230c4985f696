"""Who asks for what, when: the input of a simulation, wherever it comes from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Arrival(NamedTuple):
    """One action: ``at_ms`` after the load's beginning it is enqueued; it runs for ``run_ms``."""

    at_ms: int
    tenant: str
    tier: str
    run_ms: int
    action_type: str


class Load(NamedTuple):
    """Arrivals in their order. ``start_ms``: when the load begins (epoch), which calendar quotas go by."""

    name: str
    domain: str
    start_ms: int
    arrivals: Sequence[Arrival]

    def tiers(self) -> list[str]:
        """The tiers it names."""
        return sorted({arrival.tier for arrival in self.arrivals})
