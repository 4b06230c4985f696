"""What `nooble status` shows, as values: one look at some domains."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from nooble_tasks._engine import Engine, inspection, pauses

from .figures import quantile

_RATE_WINDOW_MS = 10_000
_QUEUE_TIME_WINDOW_MS = 60_000


class TierStatus(NamedTuple):
    """One tier of a domain. `queue_ms_*`: of the actions that ended in the last minute, as far as known."""

    tier: str
    ready: int
    held: int
    running: int
    completed: int
    dead: int
    done_per_s: float
    queue_ms_p50: float | None
    queue_ms_p99: float | None


class DomainStatus(NamedTuple):
    """One domain. `sleepers`: workers with nothing to do. `paused`: how many of its
    tiers and action types are, the domain itself included. `set_aside`: actions of paused types."""

    domain: str
    scheduled: int
    workers: int
    sleepers: int
    tiers: list[TierStatus]
    paused: int = 0
    set_aside: int = 0

    def to_dict(self) -> dict[str, Any]:
        """As JSON knows it."""
        return {**self._asdict(), "tiers": [tier._asdict() for tier in self.tiers]}


async def look(engine: Engine, domains: Sequence[str] = ()) -> list[DomainStatus]:
    """How the domains stand; without any, all that are on the server."""
    return [await _domain(engine, domain) for domain in domains or await inspection.domains(engine)]


async def _domain(engine: Engine, domain: str) -> DomainStatus:
    counts = await inspection.domain_counts(engine, domain)
    events, _ = await inspection.recent_events(engine, domain)
    outcomes = [event for event in events if isinstance(event, inspection.OutcomeEvent)]
    now_ms = engine.clock.now_ms()
    # The events looked at may reach back less than the window: then the rate is that of what they cover.
    first_ms = min((event.at_ms for event in outcomes), default=now_ms)
    window_ms = min(_RATE_WINDOW_MS, max(now_ms - first_ms, 1_000))
    rows = []
    for tier in counts.tiers:
        mine = [event for event in outcomes if event.tier == tier.tier]
        done = sum(e.outcome == "completed" and e.at_ms > now_ms - window_ms for e in mine)
        waited = [
            float(e.queue_time_ms)
            for e in mine
            if e.attempt == 1 and e.at_ms > now_ms - _QUEUE_TIME_WINDOW_MS
        ]
        rows.append(
            TierStatus(
                tier.tier,
                tier.ready,
                tier.held,
                tier.running,
                tier.completed,
                tier.dead,
                done * 1_000 / window_ms,
                quantile(waited, 0.5),
                quantile(waited, 0.99),
            )
        )
    paused = len(await pauses.list_pauses(engine, domain))
    return DomainStatus(
        domain, counts.scheduled, counts.workers, counts.sleepers, rows, paused, counts.set_aside
    )
