"""How the tiers of a domain stand: what each is promised, what it got, how long its actions waited."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from .counts import TierCounts, domain_counts
from .engine import Engine
from .inspect import OutcomeEvent, recent_events
from .stops import PAUSED, Stop

_EVENTS_LOOKED_AT = 500
_WINDOW_MS = 60_000


class TierStanding(NamedTuple):
    """One tier of a domain under the policy published there.

    ``rank`` 1 has the best priority. ``share_guaranteed`` is promised while the tier has work,
    ``share_given`` is its part of the ``starts`` looked at: attempts that ended in the last minute (None:
    there were none). ``weight`` and ``limits`` hold for each of its tenants, so does ``max_concurrency`` (0:
    none), ``tier_limits`` for all together. ``queue_ms_*``: how long first attempts among them had waited,
    None when there were none. ``paused``: whether the tier or its whole domain is, by whom and why, in words.
    ``held_why``: what else keeps all of it from starting, such as a tier limit, in words, and until when.
    """

    domain: str
    tier: str
    rank: int
    share_guaranteed: float
    share_given: float | None
    starts: int
    weight: float
    limits: list[str]
    tier_limits: list[str]
    max_concurrency: int
    ready: int
    held: int
    running: int
    tenants_ready: int
    tenants_held: int
    queue_ms_p50: int | None
    queue_ms_p99: int | None
    paused: str = ""
    held_why: str = ""
    held_until_ms: int | None = None
    at_ms: int = 0


async def tier_standings(engine: Engine, domain: str) -> list[TierStanding]:
    """How every tier of a domain stands, best first; nothing for a domain that no worker has served."""
    text = await engine.redis.get(engine.keys.of("policy", domain))
    if text is None:
        return []
    policy: dict[str, Any] = json.loads(text)
    found = await domain_counts(engine, domain)
    counts = {each.tier: each for each in found.tiers}
    events, _ = await recent_events(engine, domain, count=_EVENTS_LOOKED_AT)
    now_ms = engine.clock.now_ms()
    after_ms = now_ms - _WINDOW_MS
    started = [
        event
        for event in events
        if isinstance(event, OutcomeEvent) and event.claimed_ms and event.at_ms > after_ms
    ]
    return [
        _stopped(
            _standing(domain, rank, tier, counts[tier["name"]], started)._replace(at_ms=now_ms),
            found.stops.of(tier["name"]),
        )
        for rank, tier in enumerate(policy["tiers"], start=1)
        if tier["name"] in counts
    ]


def _stopped(standing: TierStanding, stop: Stop | None) -> TierStanding:
    if stop is None:
        return standing
    if stop.why == PAUSED:
        return standing._replace(paused=stop.text.removeprefix("paused "))
    return standing._replace(held_why=stop.text, held_until_ms=stop.until_ms)


def _standing(
    domain: str, rank: int, tier: dict[str, Any], counts: TierCounts, started: Sequence[OutcomeEvent]
) -> TierStanding:
    mine = [event for event in started if event.tier == tier["name"]]
    waited = sorted(event.queue_time_ms for event in mine if event.attempt == 1)
    return TierStanding(
        domain,
        tier["name"],
        rank,
        tier["share"] / 1_000_000,
        len(mine) / len(started) if started else None,
        len(started),
        tier["weight"],
        [limit[0] for limit in tier["limits"]],
        [limit[0] for limit in tier.get("tier_limits", ())],
        tier["concurrency"],
        counts.ready,
        counts.held,
        counts.running,
        counts.tenants_ready,
        counts.tenants_held,
        _quantile(waited, 0.5),
        _quantile(waited, 0.99),
    )


def _quantile(ordered: Sequence[int], share: float) -> int | None:
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)] if ordered else None
