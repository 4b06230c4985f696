"""The server's clock was ahead and has been set back: what was written by it is mended.

Workers go by the server's clock, so what they write while it is ahead lies in the future afterwards: leases
of workers that died meanwhile, starts that limits count, until when handlers said not now. Left alone, what
those workers held and those tenants would wait until that time comes. A worker that lives moves its lease by
itself, see ``extend``.

Each domain remembers the latest time it was looked after, in steps. When that lies ahead, the clock has been
set back; it is mended once every worker must have noticed, else what one that has not writes would be
forgotten as well, and a limit exceeded.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable

from . import scripts
from .batches import batches
from .engine import Engine
from .holds import rehold

_log = logging.getLogger(__name__)

STEP_MS = 600_000
"""A clock that was less ahead than this mends itself: that time comes soon enough."""

NOTICED_S = 90.0
"""By then every worker has compared its clock with the server's again."""

_LONGEST_LEASE_MS = 3_600_000
_AT_ONCE = 500


class SetBack:
    """Watches over the time of one domain. ``steady_s`` is a clock that never jumps."""

    def __init__(
        self, engine: Engine, domain: str, *, steady_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._engine = engine
        self._domain = domain
        self._key = engine.keys.of("latest_time", domain)
        self._steady_s = steady_s
        self._since_s: float | None = None

    async def look(self) -> None:
        """One command, as long as time goes on as it should."""
        redis, now_ms = self._engine.redis, self._engine.clock.now_ms()
        latest_ms = int(await redis.get(self._key) or 0)
        if latest_ms <= now_ms + STEP_MS:
            self._since_s = None
            if now_ms > latest_ms + STEP_MS:
                await redis.set(self._key, now_ms)
        elif self._since_s is None:
            self._since_s = self._steady_s()
        elif self._steady_s() - self._since_s >= NOTICED_S:
            ahead_s = (latest_ms - now_ms) / 1000
            _log.warning("%s: the clock was %.0f s ahead and has been set back", self._domain, ahead_s)
            await self._mend(now_ms)
            await redis.set(self._key, now_ms)
            self._since_s = None

    async def _mend(self, now_ms: int) -> None:
        await self._shorten_leases(now_ms)
        root, script, cursor = self._engine.keys.root(self._domain), scripts.load("set_back"), b"0"
        while True:
            args = [now_ms, cursor, _AT_ONCE, STEP_MS]
            cursor, _ = await scripts.run(self._engine.redis, script, root, args)
            if cursor == b"0":
                break
        await rehold(self._engine.redis, root)

    async def _shorten_leases(self, now_ms: int) -> None:
        """None ends later than one that begins now. Who lives prolongs it in time, who does not is dead."""
        redis, key = self._engine.redis, self._engine.keys.of("workers", self._domain)
        workers = await redis.zrangebyscore(key, f"({now_ms}", "+inf")
        for some in batches(workers, _AT_ONCE):
            told = await redis.hmget(self._engine.keys.of("worker_info", self._domain), some)
            leases = {worker: now_ms + _lease_ms(about) for worker, about in zip(some, told, strict=True)}
            await redis.zadd(key, leases, xx=True, lt=True)


def _lease_ms(about: bytes | None) -> int:
    """Of a worker, by what it says about itself; the longest there can be where it does not say."""
    try:
        found = json.loads(about or b"{}").get("lease_ms")
    except (ValueError, AttributeError):
        found = None
    known = type(found) is int and 0 < found <= _LONGEST_LEASE_MS
    return found if known else _LONGEST_LEASE_MS
