"""The loop that fires schedules. Any number of them tick at once: each due time is fired by exactly one."""

from __future__ import annotations

import random
import time
from collections.abc import Awaitable, Callable, Sequence

from .engine import Engine
from .maintenance import Loop
from .schedule_store import ScheduleStore

_LOOK_EVERY_S = 5.0
_LOOK_FOR_FIRST_S = 30.0
"""While there is no schedule at all; who makes the first one says so, this is for a message that got lost."""
_SPREAD_S = 0.01


class Ticker(Loop):
    """Fires what is due in some domains, on time; ``nudge`` it when a due time may have come nearer.

    ``declare``, if given, is called at the start and every ``declare_every_s``: it says what the code
    declares.
    Many tickers wake for the same due time, so each a few milliseconds (at most 10) apart from the others.
    """

    name = "cron"

    def __init__(
        self,
        engine: Engine,
        domains: Sequence[str],
        *,
        declare: Callable[[], Awaitable[None]] | None = None,
        declare_every_s: float = 30.0,
        steady_s: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self._engine = engine
        self._domains = tuple(domains)
        self._store = ScheduleStore(engine)
        self._declare = declare
        self._declare_every_s = declare_every_s
        self._declare_at_s = 0.0
        self._steady_s = steady_s

    async def tick(self) -> float:
        """One round over all domains."""
        if self._declare is not None and self._steady_s() >= self._declare_at_s:
            await self._declare()
            self._declare_at_s = self._steady_s() + self._declare_every_s * random.uniform(0.8, 1.2)
        spread = random.uniform(0.8, 1.0)
        delay_s = _LOOK_FOR_FIRST_S * spread
        for domain in self._domains:
            ticked = await self._store.fire_due(domain)
            if ticked.next_due_ms:
                due_in_s = (ticked.next_due_ms - self._engine.clock.now_ms()) / 1000
                due_in_s = max(due_in_s, 0.0) + random.uniform(0, _SPREAD_S)
                delay_s = min(delay_s, _LOOK_EVERY_S * spread, due_in_s)
        return delay_s
