"""One timer for many times of which only the first matters: one each would cost more than many a handler."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable


class Alarm:
    """Rings once, at the earliest time it was set to since it rang last, and at most every `gap_s` seconds.

    Times are those of the event loop's clock.
    """

    def __init__(self, ring: Callable[[], None], gap_s: float = 0.0) -> None:
        self._ring = ring
        self._gap_s = gap_s
        self._at_s = math.inf
        self._not_before_s = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def set(self, at_s: float) -> None:
        """Ring then, or earlier."""
        if at_s >= self._at_s:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._at_s = at_s
        self._timer = asyncio.get_running_loop().call_at(max(at_s, self._not_before_s), self._due)

    def off(self) -> None:
        """Do not ring before it is set anew."""
        if self._timer is not None:
            self._timer.cancel()
        self._at_s, self._timer = math.inf, None

    def _due(self) -> None:
        self._not_before_s = asyncio.get_running_loop().time() + self._gap_s
        self._at_s, self._timer = math.inf, None
        self._ring()
