"""The slots of a worker, which its domains share, and what was claimed for the next ones to become free."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from ._engine import Claimed
from .lookahead import Lookahead

if TYPE_CHECKING:
    from .line import Line

LOOK_S = 0.025
"""What was claimed ahead and has not begun within twice this time is given back."""


class _Waiting(NamedTuple):
    line: Line
    claimed: Claimed


class Slots:
    """`size` actions run at once, in whatever `lines`; more wait here in the order they were claimed.

    A handler that was given up and runs on keeps no slot, unless there are more of them than slots.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.lines: list[Line] = []
        self.lookahead = Lookahead(size)
        self._next: deque[_Waiting] = deque()
        self._first_seen: _Waiting | None = None
        self._timer: asyncio.TimerHandle | None = None

    @property
    def running(self) -> int:
        """How many actions run."""
        return sum(line.running for line in self.lines)

    @property
    def _taken(self) -> int:
        running = given_up = 0
        for line in self.lines:
            running += line.running
            given_up += len(line.given_up)
        return running + given_up - self.size if given_up > self.size else running

    @property
    def free(self) -> bool:
        """Whether one more may run."""
        return self._taken < self.size

    @property
    def room(self) -> int:
        """How many actions may be claimed."""
        return self.size + self.lookahead.most - self._taken - len(self._next)

    def waiting(self, line: Line) -> int:
        """How many actions of a line wait for a slot. The heartbeat's thread asks, too."""
        return sum(each.line is line for each in [*self._next]) if self._next else 0

    def enter(self, line: Line, claimed: Claimed) -> bool:
        """Whether it may run now; if not, it will as soon as it is its turn."""
        if not self._next and self.free:
            return True
        self._next.append(_Waiting(line, claimed))
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(LOOK_S, self._look_for_late)
        return False

    def fill(self) -> None:
        """Start what there is room for by now: first what waits for its handler, then what for a slot."""
        for line in self.lines:
            line.refill()
        while self._next and self.free:
            line, claimed = self._next.popleft()
            line.start_late(claimed)

    def held(self, line: Line) -> list[Claimed]:
        """What waits here of a line."""
        return [each.claimed for each in self._next if each.line is line]

    def take(self, line: Line, action_id: str) -> Claimed | None:
        """Take one action out."""
        for each in self._next:
            if each.line is line and each.claimed.action_id == action_id:
                self._next.remove(each)
                return each.claimed
        return None

    def clear(self, line: Line) -> list[Claimed]:
        """Take all of a line out."""
        left = self.held(line)
        self._next = deque(each for each in self._next if each.line is not line)
        return left

    def _look_for_late(self) -> None:
        """Give back when the same one is first twice; all, lest a later one of a tenant start before it.

        Twice, because after a blocked loop everything looks late.
        """
        self._timer = None
        if not self._next:
            return
        if self._next[0] is not self._first_seen:
            self._first_seen = self._next[0]
            self._timer = asyncio.get_running_loop().call_later(LOOK_S, self._look_for_late)
            return
        self.lookahead.misjudged()
        for line in self.lines:
            line.give_back(self.clear(line))
