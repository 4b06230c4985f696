"""Which workers are dead: an ended lease is not enough, its heartbeat must be missing too.

A lease is a time by somebody's clock. If the clock of whoever looks has jumped, every lease seems to have
ended; but a worker that lives moves its lease on with every heartbeat, whatever its clock says. So a worker
is dead when its lease has ended *and* has not moved for longer than a heartbeat takes, measured here by a
clock that cannot jump.

While nobody can look, because the server is away or whoever looks stands still, heartbeats may have failed
for the same reason. So after a gap as long as that, the watch over everybody begins anew.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

from .engine import Engine

_LOOKED_AT = 500
_HEARTBEATS = 1.8
"""How many must have been missed: the second one nearly, for a first one that is slow on a busy machine."""

_WATCHED_FROM = 2 / 3
"""How much of a lease may be left when watching begins: what a busy worker has left before each heartbeat."""


class DeadWorker(NamedTuple):
    """A worker to take back from, and the lease it had when that was decided."""

    worker_id: str
    lease_until_ms: int


class Vigil:
    """Watches the workers of one domain whose leases are old.

    Watching begins when a heartbeat is due, so that one that dies is known to be dead soon after its lease.
    ``steady_s`` is a clock that never jumps.
    """

    def __init__(
        self, engine: Engine, domain: str, *, steady_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._engine = engine
        self._key = engine.keys.of("workers", domain)
        self._steady_s = steady_s
        self._patience_s = engine.lease_ms / 3000 * _HEARTBEATS
        self._unmoved: dict[str, tuple[int, float]] = {}
        self._looked_s: float | None = None
        self._was_away = False
        self.look_again_in_s: float | None = None

    async def dead(self) -> list[DeadWorker]:
        """Those that are dead now; ``look_again_in_s``: when the next may be, None when none is suspected."""
        now_ms = self._engine.clock.now_ms()
        old = await self._engine.redis.zrangebyscore(
            self._key,
            "-inf",
            now_ms + int(self._engine.lease_ms * _WATCHED_FROM),
            0,
            _LOOKED_AT,
            withscores=True,
        )
        now_s = self._steady_s()  # after the answer, for which it may have waited long
        self._forget_after_a_gap(now_s)
        unmoved: dict[str, tuple[int, float]] = {}
        found, again = [], []
        for raw, score in old:
            worker_id, lease_until_ms = raw.decode(), int(score)
            lease, since_s = self._unmoved.get(worker_id, (None, now_s))
            if lease != lease_until_ms:
                since_s = now_s
            unmoved[worker_id] = (lease_until_ms, since_s)
            missing_s = max((lease_until_ms + 1 - now_ms) / 1000, since_s + self._patience_s - now_s)
            if missing_s <= 0:
                found.append(DeadWorker(worker_id, lease_until_ms))
            else:
                again.append(missing_s)
        self._unmoved = unmoved
        self.look_again_in_s = min(again, default=None)
        return found

    def _forget_after_a_gap(self, now_s: float) -> None:
        """Not twice in a row: whoever is always that slow must find the dead, too."""
        away = self._looked_s is not None and now_s - self._looked_s > self._patience_s
        if away and not self._was_away:
            self._unmoved.clear()
        self._looked_s, self._was_away = now_s, away
