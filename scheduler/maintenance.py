"""What any worker does in turn for everybody: promote what is due, reclaim what a dead worker held."""

from __future__ import annotations

import asyncio
import logging
import random
from abc import ABC, abstractmethod
from collections.abc import Sequence

from redis.exceptions import RedisError

from .engine import MAX_ITEMS, Engine

_log = logging.getLogger(__name__)


class Loop(ABC):
    """A background role: ``start``, ``stop``, and a ``tick`` that returns the seconds until the next one.

    Starting twice, stopping twice and stopping before starting are all fine. An error of Redis is logged
    and the next tick comes; anything else ends the loop and is raised by ``stop``.
    """

    name = "loop"
    after_error_s = 1.0

    def __init__(self) -> None:
        self._task: asyncio.Task[None] | None = None
        self._nudge = asyncio.Event()

    def start(self) -> None:
        """Begin ticking."""
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name=f"nooble-{self.name}")

    def nudge(self) -> None:
        """Tick now instead of later."""
        self._nudge.set()

    async def stop(self) -> None:
        """End; a tick in progress is cancelled."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            try:
                await task
            except asyncio.CancelledError:
                if not task.cancelled():
                    raise

    @abstractmethod
    async def tick(self) -> float:
        """One turn of work; returns the seconds until the next."""

    async def _run(self) -> None:
        while True:
            try:
                delay = await self.tick()
            except (RedisError, OSError) as error:
                _log.warning("%s: %s; again in %.1f s", self.name, error, self.after_error_s)
                delay = self.after_error_s
            self._nudge.clear()
            try:
                await asyncio.wait_for(self._nudge.wait(), timeout=delay)
            except TimeoutError:
                pass


class Maintenance(Loop):
    """Promotes and reclaims, for some domains.

    ``every_s`` is the pause between rounds; workers wake up for due work by themselves, so this is the
    safety net and the reclaimer. Rounds are spread at random so that many workers do not tick together.
    """

    name = "maintenance"

    def __init__(self, engine: Engine, domains: Sequence[str], *, every_s: float = 5.0) -> None:
        super().__init__()
        self._engine = engine
        self._domains = tuple(domains)
        self._every_s = every_s

    async def tick(self) -> float:
        """One round over all domains."""
        soonest: float = self._every_s
        for domain in self._domains:
            await self._reclaim(domain)
            soonest = min(soonest, await self._promote(domain))
        return soonest * random.uniform(0.8, 1.2)

    async def _reclaim(self, domain: str) -> None:
        while True:
            found = await self._engine.reclaim(domain)
            if not found.workers:
                return
            if found.actions:
                _log.warning("%s: took back %d actions of a worker that died", domain, found.actions)

    async def _promote(self, domain: str) -> float:
        promoted = await self._engine.promote(domain)
        while promoted.moved >= MAX_ITEMS:
            promoted = await self._engine.promote(domain)
        if not promoted.next_due_ms:
            return self._every_s
        return max((promoted.next_due_ms - self._engine.clock.now_ms()) / 1000, 0.01)
