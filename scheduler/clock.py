"""Time is a parameter: no script asks for it, no decision rests on a key's TTL.

Production uses :class:`ServerClock`, calibrated on the server's ``TIME``; tests use :class:`ManualClock`
or freezegun; the simulator drives the shipping scripts with a :class:`ManualClock`.
"""

from __future__ import annotations

import time
from typing import Any, Protocol

_DISTURBANCE_S = 0.5


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
    """A clock that cannot jump, set by the Redis server's clock.

    Workers on machines whose clocks differ, or are set while they run, then agree on due times and windows.
    ``calibrate`` takes the reading with the shortest round trip of a few, as NTP does (RFC 5905 §8: offset
    measured against the middle of the round trip). Before the first one it is this machine's wall clock.
    """

    def __init__(self) -> None:
        self._from_steady_s = _wall_minus_steady_s()
        self._wall_minus_steady_s = self._from_steady_s
        self.calibrated = False

    def now_ms(self) -> int:
        """Milliseconds since 1970-01-01 UTC, by the server's clock."""
        return int((time.monotonic() + self._from_steady_s) * 1000)

    @property
    def offset_ms(self) -> float:
        """How far the server's clock was ahead of this machine's when they were compared, in ms."""
        return (self._from_steady_s - self._wall_minus_steady_s) * 1000

    @property
    def disturbed(self) -> bool:
        """Whether this machine's clock was set since then, or the machine slept: then compare again."""
        return abs(_wall_minus_steady_s() - self._wall_minus_steady_s) > _DISTURBANCE_S

    async def calibrate(self, redis: Any, rounds: int = 3) -> float:
        """Measure and keep the distance to the server's clock; returns ``offset_ms``."""
        best: tuple[float, float] | None = None
        for _ in range(rounds):
            before = time.monotonic()
            seconds, micros = await redis.time()
            after = time.monotonic()
            from_steady_s = (seconds + micros / 1e6) - (before + after) / 2
            if best is None or after - before < best[0]:
                best = (after - before, from_steady_s)
        assert best is not None
        self._from_steady_s = best[1]
        self._wall_minus_steady_s = _wall_minus_steady_s()
        self.calibrated = True
        return self.offset_ms


def _wall_minus_steady_s() -> float:
    return time.time() - time.monotonic()


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
