"""What a rival is asked to do, and what its handlers do: the same for all of them."""

from __future__ import annotations

import asyncio
import itertools
import os
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

SLOTS = 100
BATCH = 100  # actions per call when many are enqueued, or enqueued at a time where there is no such call
FIRST = 10  # priorities by hand, where there are only levels: so many of each tenant's go first
_SLEEP_S = {"noop": 0.0, "large": 0.0, "sleep": 0.001, "nap": 0.002, "hold": 0.0}
_NOTED = {"nap", "hold"}
TEXT = {"large": "y" * 10_000}
PLAIN_TEXT = "y" * 200


@dataclass
class Order:
    """What one process shall do; from JSON."""

    url: str
    count: int = 0
    kind: str = "noop"
    slots: int = SLOTS
    settings: str = (
        "best"  # for throughput and answers | "installed" | "tuned": for recovery, by its documents
    )
    ranked: bool = False  # a tenant's own sequence number as priority
    notes: str = ""  # a file for the starts of handlers
    stuck: bool = False  # handlers of "hold" do not end
    tag: str = ""
    tenants: int = 1
    within_s: float = 120.0


class Tasks:
    """The handlers' side: counts, sleeps, notes starts."""

    def __init__(self, order: Order) -> None:
        self.done = threading.Event()
        self._count = order.count
        self._numbers = itertools.count(1)
        self._stuck = order.stuck
        self._notes = os.open(order.notes, os.O_WRONLY | os.O_CREAT | os.O_APPEND) if order.notes else -1

    async def run(self, kind: str, text: str) -> dict[str, int]:
        """An action of an asynchronous handler."""
        if seconds := self._begin(kind, text):
            await asyncio.sleep(seconds)
        return self._end()

    def run_sync(self, kind: str, text: str) -> dict[str, int]:
        """An action of a handler in a thread."""
        if seconds := self._begin(kind, text):
            time.sleep(seconds)
        return self._end()

    def _begin(self, kind: str, text: str) -> float:
        if kind in _NOTED:
            os.write(self._notes, f"{text} {time.time()}\n".encode())
            if kind == "hold" and self._stuck:
                return 600.0
        return _SLEEP_S[kind]

    def _end(self) -> dict[str, int]:
        if next(self._numbers) == self._count:
            self.done.set()
        return {"a": 1}


class Peer:
    """A rival. Sending and working happen in processes of their own; a drain does both in turn."""

    package = ""
    about = ""
    ranks = ""
    """How its priorities are set by hand; empty: it has none that reach past what a worker has taken."""
    tuned = ""
    lists_at_once = 1
    """Lists under way while many are enqueued: two where a list is one call, who gathers overlaps anyway."""

    def __init__(self, order: Order, tasks: Tasks) -> None:
        self.order, self.tasks = order, tasks

    async def open(self) -> None:
        """Connect."""

    async def send(self, kind: str, text: str) -> None:
        """Enqueue one action."""
        raise NotImplementedError

    async def send_many(self, kind: str, texts: Sequence[str], first_rank: int) -> None:
        """Enqueue up to a hundred; ``first_rank`` is the first one's number among its tenant's, from 1."""
        raise NotImplementedError

    async def call(self, kind: str, text: str) -> Any:
        """Enqueue one action and wait for its result."""
        raise NotImplementedError

    async def start(self) -> None:
        """Begin to work in this process."""
        raise NotImplementedError

    async def left(self, count: int) -> int:
        """How many of ``count`` actions have no stored result yet."""
        raise NotImplementedError


def high(rank: int) -> bool:
    """Whether priorities by hand let an action go first where there are only two levels."""
    return rank <= FIRST
