"""What any worker does for everybody: the engine's maintenance, and what this library began in it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from ._engine import maintenance
from .bus import Bus
from .children import go_on_cancelling


def upkeep(bus: Bus, domains: Sequence[str]) -> maintenance.Maintenance:
    """The maintenance of these domains."""
    go_on = partial(go_on_cancelling, bus.engine)
    return maintenance.Maintenance(bus.engine, domains, policies=bus.policies, go_on=go_on)
