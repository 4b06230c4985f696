"""Random arrivals and run times, each a small model of a scenario file.

Everything is drawn from a ``random.Random`` of a named seed, so the same seed gives the same load on every
machine, and adding a group to a scenario changes nothing of the others.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from .spans import span_ms

DAY_MS = 86_400_000
_MINUTE_MS = 60_000


def _span(value: Any) -> int:
    return span_ms(value)


Span = Annotated[int, BeforeValidator(_span)]
"""Milliseconds, written ``2s`` or ``24h``, or a number of seconds."""

LongSpan = Annotated[Span, Field(ge=1)]
Rate = Annotated[float, Field(gt=0, le=10_000_000, allow_inf_nan=False)]


class Part(BaseModel):
    """A table of a scenario: unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Fixed(Part):
    """Every action runs equally long."""

    kind: Literal["fixed"]
    value: Span

    def draw(self, draw: random.Random) -> float:
        """One run time in ms."""
        return self.value


class Exponential(Part):
    """Without memory: many short ones, few long ones."""

    kind: Literal["exponential"]
    mean: LongSpan

    def draw(self, draw: random.Random) -> float:
        """One run time in ms."""
        return draw.expovariate(1 / self.mean)


class LogNormal(Part):
    """Most near the middle, a long tail. ``sigma``: of the logarithm."""

    kind: Literal["lognormal"]
    mean: LongSpan
    sigma: float = Field(default=1.0, gt=0, le=5)

    def draw(self, draw: random.Random) -> float:
        """One run time in ms."""
        return draw.lognormvariate(math.log(self.mean) - self.sigma**2 / 2, self.sigma)


class Pareto(Part):
    """Heavy tail: a few actions are most of the work. The smaller ``alpha``, the heavier."""

    kind: Literal["pareto"]
    mean: LongSpan
    alpha: float = Field(default=1.5, gt=1, le=100)

    def draw(self, draw: random.Random) -> float:
        """One run time in ms."""
        return self.mean * (self.alpha - 1) / self.alpha * draw.paretovariate(self.alpha)


RunTime = Annotated[Fixed | Exponential | LogNormal | Pareto, Field(discriminator="kind")]


class Poisson(Part):
    """Independent arrivals, ``per_minute`` on average, of all the group's tenants together."""

    kind: Literal["poisson"]
    per_minute: Rate

    def times(self, draw: random.Random, length_ms: int, start_ms: int) -> Iterator[tuple[float, int]]:
        """When, and how many at that moment of one tenant."""
        at_ms = 0.0
        while (at_ms := at_ms + draw.expovariate(self.per_minute / _MINUTE_MS)) < length_ms:
            yield at_ms, 1


class Bursty(Part):
    """One tenant sends several at once: ``burst`` on average (geometric), bursts arrive as Poisson."""

    kind: Literal["bursty"]
    per_minute: Rate
    burst: float = Field(gt=1, le=100_000)

    def times(self, draw: random.Random, length_ms: int, start_ms: int) -> Iterator[tuple[float, int]]:
        """When, and how many at that moment of one tenant."""
        at_ms, stays = 0.0, math.log(1 - 1 / self.burst)
        while (at_ms := at_ms + draw.expovariate(self.per_minute / self.burst / _MINUTE_MS)) < length_ms:
            yield at_ms, 1 + int(math.log(1 - draw.random()) / stays)


class Diurnal(Part):
    """Poisson whose rate follows the hour of the day (UTC), ``per_minute`` on average over a day.

    Thinning of a faster Poisson process: Lewis and Shedler, "Simulation of nonhomogeneous Poisson processes
    by thinning", Naval Research Logistics Quarterly 26 (1979).
    """

    kind: Literal["diurnal"]
    per_minute: Rate
    peak_to_trough: float = Field(default=4.0, ge=1, le=1_000)
    peak_hour: float = Field(default=14.0, ge=0, lt=24)

    def times(self, draw: random.Random, length_ms: int, start_ms: int) -> Iterator[tuple[float, int]]:
        """When, and how many at that moment of one tenant."""
        swing = (self.peak_to_trough - 1) / (self.peak_to_trough + 1)
        fastest, at_ms = self.per_minute * (1 + swing) / _MINUTE_MS, 0.0
        while (at_ms := at_ms + draw.expovariate(fastest)) < length_ms:
            turn = ((start_ms + at_ms) / DAY_MS - self.peak_hour / 24) * 2 * math.pi
            if draw.random() * (1 + swing) < 1 + swing * math.cos(turn):
                yield at_ms, 1


class Backlog(Part):
    """``actions`` of the group's tenants that are all there ``at`` one moment."""

    kind: Literal["backlog"]
    actions: int = Field(ge=1, le=5_000_000)
    at: Span = 0

    def times(self, draw: random.Random, length_ms: int, start_ms: int) -> Iterator[tuple[float, int]]:
        """When, and how many at that moment of one tenant."""
        for _ in range(self.actions):
            yield self.at, 1


Arrivals = Annotated[Poisson | Bursty | Diurnal | Backlog, Field(discriminator="kind")]
