"""How many actions a worker claims before it has a free slot for them.

A slot that becomes free waits for a turn, and with handlers that are hardly longer than a turn that is much
of its time. Such a worker claims about as many actions ahead as slots become free during two turns; one
whose handlers take long claims exactly as many as it has free slots.
"""

from __future__ import annotations

import math

LONGEST_TURN_S = 0.01
"""Nothing is claimed ahead while turns take longer: it would wait here for too long."""

_TURNS = 2  # worth of actions: for what ends while a turn is under way, the next one claims
_FEW = 10  # handlers that take longer than so many turns hardly gain
_ENOUGH = 4  # attempts per slot tell how long handlers take
_NEWEST_COUNTS = 0.05


class Lookahead:
    """For a worker with `slots` slots.

    With a single one nothing is claimed ahead: who wants one action at a time leaves the next to others.
    """

    def __init__(self, slots: int) -> None:
        self._slots = slots
        self._ended = 0
        self._run_s = 0.0
        self._turn_s = 0.0

    def ended(self, run_time_s: float) -> None:
        """An attempt has ended."""
        self._ended += 1
        newest = _NEWEST_COUNTS if self._ended * _NEWEST_COUNTS > 1 else 1 / self._ended
        self._run_s += (run_time_s - self._run_s) * newest

    def turned(self, turn_s: float) -> None:
        """A turn has ended."""
        self._turn_s += (turn_s - self._turn_s) * _NEWEST_COUNTS

    def misjudged(self) -> None:
        """No slot became free for what was claimed ahead: learn anew how long handlers take."""
        self._ended, self._run_s = 0, 0.0

    @property
    def most(self) -> int:
        """How many may be claimed ahead: as many as start within two turns, if handlers are short."""
        run_s, turn_s = self._run_s, self._turn_s
        if self._slots < 2 or self._ended < self._slots * _ENOUGH:
            return 0
        if turn_s > LONGEST_TURN_S or run_s > turn_s * _FEW:
            return 0
        return min(math.ceil(self._slots * turn_s * _TURNS / max(run_s, 1e-6)), self._slots)
