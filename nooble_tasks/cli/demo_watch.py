"""Follows the system from outside while the demo runs: counts per domain and tier, and the event stream."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict, deque
from collections.abc import Sequence
from typing import Any, NamedTuple

from nooble_tasks._engine import Engine, inspection

DOMAINS = ("ingestion", "embedding", "query")
ASKED_DOMAINS = ("ingestion", "query")
"""Where the tenants send to; the embedding service is asked by the other two."""

_RECENT_MS = 10_000
_EVERY_S = 0.4


class TierNow(NamedTuple):
    """One tier over all domains, as it is now. `queue_ms`: of the starts of the last ten seconds."""

    tier: str
    ready: int
    held: int
    running: int
    done: int
    queue_ms: list[int]


class Watch:
    """What was seen. `starts` holds, per (domain, tier, tenant), when each attempt started (ms)."""

    def __init__(self, engine: Engine, domains: Sequence[str] = DOMAINS) -> None:
        self.engine = engine
        self.domains = tuple(domains)
        self.counts: dict[str, inspection.DomainCounts] = {}
        self.starts: dict[tuple[str, str, str], list[int]] = defaultdict(list)
        self.queue_ms: dict[str, list[int]] = defaultdict(list)
        self.done_by_tenant: Counter[str] = Counter()
        self.holds: dict[tuple[str, str], Any] = {}
        self._recent: deque[tuple[int, str, int]] = deque()
        self._after = dict.fromkeys(self.domains, "0-0")

    async def follow(self, stopping: asyncio.Event) -> None:
        """Look again and again until told to stop."""
        while not stopping.is_set():
            await self.look()
            try:
                await asyncio.wait_for(stopping.wait(), _EVERY_S)
            except TimeoutError:
                pass

    async def look(self) -> None:
        """Counts, and all events since the last look."""
        for domain in self.domains:
            self.counts[domain] = await inspection.domain_counts(self.engine, domain)
            while True:
                events, last = await inspection.recent_events(self.engine, domain, self._after[domain])
                if last == self._after[domain]:
                    break
                self._after[domain] = last
                for event in events:
                    self._take(domain, event)
        oldest = self.engine.clock.now_ms() - _RECENT_MS
        while self._recent and self._recent[0][0] < oldest:
            self._recent.popleft()

    def tier(self, tier: str) -> TierNow:
        """One tier now."""
        rows = [(domain, row) for domain, c in self.counts.items() for row in c.tiers if row.tier == tier]
        return TierNow(
            tier,
            sum(row.ready for _, row in rows),
            sum(row.held for _, row in rows),
            sum(row.running for _, row in rows),
            sum(row.completed for domain, row in rows if domain in ASKED_DOMAINS),
            [waited for _, of_tier, waited in self._recent if of_tier == tier],
        )

    def balance(self, domain: str, tier: str | None = None) -> dict[str, int]:
        """The server's own counters: enqueued, and what became of it."""
        rows = [row for row in self.counts[domain].tiers if tier in (None, row.tier)]
        return {
            "enqueued": sum(row.enqueued for row in rows),
            "completed": sum(row.completed for row in rows),
            "failed": sum(row.dead for row in rows),
            "cancelled": sum(row.cancelled for row in rows),
            "expired": sum(row.expired for row in rows),
        }

    def balanced(self) -> bool:
        """Whether everything enqueued anywhere has ended."""
        every = [self.balance(domain) for domain in self.domains]
        return all(b["enqueued"] == sum(b.values()) - b["enqueued"] for b in every)

    def _take(self, domain: str, event: inspection.Event) -> None:
        if isinstance(event, inspection.HoldEvent):
            self.holds[domain, event.tenant_id] = event
            return
        if not isinstance(event, inspection.OutcomeEvent):
            return
        if event.claimed_ms:
            self.starts[domain, event.tier, event.tenant_id].append(event.claimed_ms)
        if domain not in ASKED_DOMAINS:
            return
        if event.outcome == "completed":
            self.done_by_tenant[event.tenant_id] += 1
        if event.claimed_ms and event.attempt == 1:
            self.queue_ms[event.tier].append(event.queue_time_ms)
            self._recent.append((event.at_ms, event.tier, event.queue_time_ms))
