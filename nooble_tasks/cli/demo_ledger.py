"""The demo's own books: every action that was accepted, and the one answer that closed it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

OPEN = "open"
COMPLETED, FAILED, CANCELLED, EXPIRED = "completed", "failed", "cancelled", "expired"
_BY_ERROR = {"ActionCancelled": CANCELLED, "ActionExpired": EXPIRED}


@dataclass(slots=True)
class Entry:
    """One accepted action. `answers` counts what arrived for it: exactly one is right.

    `by_callback`: its answer is a callback, so nobody is told when it is cancelled before it starts.
    """

    action_id: str
    domain: str
    tenant_id: str
    tier: str
    by_callback: bool = False
    outcome: str = OPEN
    answers: int = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a question: asked about `document_id`, and whether that document was among the found."""

    tier: str
    question: str
    document_id: str
    found: bool
    best_title: str = ""
    best_text: str = ""
    score: float = 0.0


class Ledger:
    """Entries by action id. Written only from what the client is told, never from the server's counters."""

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self.answers: list[Answer] = []
        self.progress_callbacks = 0
        self.errors: Counter[str] = Counter()
        self.all_closed = asyncio.Event()
        self._open = 0
        self._open_of: Counter[str] = Counter()

    def accept(
        self, action_id: str, domain: str, tenant_id: str, tier: str, *, by_callback: bool = False
    ) -> None:
        """The server took the action."""
        self.entries[action_id] = Entry(action_id, domain, tenant_id, tier, by_callback)
        self._open += 1
        self._open_of[tenant_id] += 1
        self.all_closed.clear()

    def close(self, action_id: str, outcome: str) -> None:
        """An answer came. A second one is counted, and shows in `answered_twice`."""
        entry = self.entries[action_id]
        entry.answers += 1
        if entry.outcome == OPEN:
            entry.outcome = outcome
            self._open -= 1
            self._open_of[entry.tenant_id] -= 1
            if not self._open:
                self.all_closed.set()

    def close_by_error(self, action_id: str, error: dict[str, Any]) -> None:
        """The answer was an error, as ErrorDetail has it."""
        outcome = _BY_ERROR.get(str(error.get("type")), FAILED)
        if outcome == FAILED:
            self.errors[f"{error.get('type')}: {str(error.get('message'))[:160]}"] += 1
        self.close(action_id, outcome)

    @property
    def open_count(self) -> int:
        """How many accepted actions have no answer yet."""
        return self._open

    def open_of(self, tenant_id: str) -> int:
        """How many of a tenant's are open."""
        return self._open_of[tenant_id]

    def open_entries(self, domain: str) -> list[Entry]:
        """Those of a domain."""
        return [e for e in self.entries.values() if e.domain == domain and e.outcome == OPEN]

    def outcomes(self, *, tier: str | None = None, domain: str | None = None) -> Counter[str]:
        """How many entries per outcome."""
        return Counter(entry.outcome for entry in self._of(tier, domain))

    def per_tenant(self) -> dict[str, Counter[str]]:
        """Outcomes of every tenant."""
        found: dict[str, Counter[str]] = {}
        for entry in self.entries.values():
            found.setdefault(entry.tenant_id, Counter())[entry.outcome] += 1
        return found

    def answered_twice(self) -> int:
        """How many actions got more than one answer."""
        return sum(entry.answers > 1 for entry in self.entries.values())

    def _of(self, tier: str | None, domain: str | None) -> Iterable[Entry]:
        for entry in self.entries.values():
            if tier in (None, entry.tier) and domain in (None, entry.domain):
                yield entry
