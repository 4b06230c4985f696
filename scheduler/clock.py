"""Time is a parameter: no script asks for it, no decision rests on a key's TTL.

Production uses :class:`ServerClock`, calibrated on the server's ``TIME``; tests use :class:`ManualClock`
or freezegun; the simulator drives the shipping scripts with a :class:`ManualClock`.
"""

from __future__ import annotations

import time
from typing import Any, Protocol


class Clock(Protocol):
    """Anything that tells the time in whole milliseconds since the epoch."""

    def now_ms(self) -> int:
        """Milliseconds since 1970-01-01 UTC."""
        ...


class SystemClock:
    """This machine's wall clock."""

    def now_ms(self) -> int:
        """Milliseconds since 1970-01-01 UTC."""
        return int(time.time() * 1000)


class ServerClock:
    """The wall clock moved by its measured distance to the Redis server's clock.

    Workers on machines whose clocks differ then agree on due times and windows. ``calibrate`` takes
    the reading with the shortest round trip of a few, as NTP does (RFC 5905 §8: offset measured against
    the middle of the round trip).
    """

    def __init__(self) -> None:
        self.offset_ms = 0.0
        self.calibrated = False

    def now_ms(self) -> int:
        """Milliseconds since 1970-01-01 UTC, by the server's clock."""
        return int(time.time() * 1000 + self.offset_ms)

    async def calibrate(self, redis: Any, rounds: int = 3) -> float:
        """Measure and keep the offset to the server in ms; returns it."""
        best: tuple[float, float] | None = None
        for _ in range(rounds):
            before = time.time()
            seconds, micros = await redis.time()
            after = time.time()
            offset = (seconds + micros / 1e6) - (before + after) / 2
            if best is None or after - before < best[0]:
                best = (after - before, offset)
        assert best is not None
        self.offset_ms = best[1] * 1000
        self.calibrated = True
        return self.offset_ms


class ManualClock:
    """A clock that moves only when told."""

    def __init__(self, now_ms: int = 1_750_000_000_000) -> None:
        self._now_ms = now_ms

    def now_ms(self) -> int:
        """The time it was set to, in ms."""
        return self._now_ms

    def advance(self, ms: float) -> int:
        """Move by ``ms`` (negative: a clock set back); returns the new time."""
        self._now_ms += int(ms)
        return self._now_ms

    def set(self, now_ms: int) -> None:
        """Jump to a time in ms."""
        self._now_ms = now_ms
