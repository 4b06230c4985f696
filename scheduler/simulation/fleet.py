"""Targets, and the smallest fleet that meets them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from ..errors import nearest
from .errors import OptionError
from .report import Report
from .spans import span_ms, span_text

MEASURES = ("p50", "p95", "p99", "max", "starvation")


class Target(NamedTuple):
    """``tier.measure=most``: that figure of that tier is at most ``most_ms``."""

    tier: str
    measure: str
    most_ms: int

    def __str__(self) -> str:
        return f"{self.tier}.{self.measure}={span_text(self.most_ms)}"

    def value_ms(self, report: Report) -> int:
        """What the tier has; 0 when nothing of it waited."""
        tier = report.tier(self.tier)
        if tier is None:
            return 0
        if self.measure == "starvation":
            return tier.starvation_ms
        return int(getattr(tier.queue_ms, self.measure) or 0)

    def met(self, report: Report) -> bool:
        """Whether it is kept; what was refused was not served in time."""
        tier = report.tier(self.tier)
        return self.value_ms(report) <= self.most_ms and not (tier and tier.refused)


def parse_target(text: str, tiers: Sequence[str]) -> Target:
    """Read ``enterprise.p99=2s``; raises :class:`OptionError`, with the nearest name for a typo."""
    name, sign, most = text.partition("=")
    tier, dot, measure = name.strip().rpartition(".")
    if not sign or not dot:
        raise OptionError(f"{text!r} is no target; write TIER.p99=2s, with p50, p95, p99, max, starvation")
    if tier not in tiers:
        raise OptionError(f"target {text!r}: no tier {tier!r}{nearest(tier, tiers)}; of {', '.join(tiers)}")
    if measure not in MEASURES:
        raise OptionError(
            f"target {text!r}: no measure {measure!r}{nearest(measure, MEASURES)}; "
            f"one of {', '.join(MEASURES)}"
        )
    try:
        return Target(tier, measure, span_ms(most))
    except ValueError as error:
        raise OptionError(f"target {text!r}: {error}") from None


async def smallest_fleet(
    at: Callable[[int], Awaitable[Report]], targets: Sequence[Target], most: int
) -> int | None:
    """The smallest number of workers that meets all targets; None when no more than ``most`` of them do.

    ``at`` simulates that many. Doubles, then halves the interval: as long as more workers never make a target
    worse, no smaller fleet meets it; one fewer than the answer was seen to miss it in any case. It ends with
    the first fleet that misses a target although it always had a free slot: workers are not what is lacking.
    """

    hopeless = False

    async def enough(workers: int) -> bool:
        nonlocal hopeless
        report = await at(workers)
        found = all(target.met(report) for target in targets)
        hopeless = not found and report.had_a_free_slot
        return found

    missed, tried = 0, 1
    while not await enough(tried):
        if tried >= most or hopeless:
            return None
        missed, tried = tried, min(tried * 2, most)
    while tried - missed > 1:
        middle = (missed + tried) // 2
        if await enough(middle):
            tried = middle
        else:
            missed = middle
    return tried
