"""The slots of a worker, which its domains share, and what was claimed for the next ones to become free."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from contextvars import Context, copy_context
from typing import TYPE_CHECKING, NamedTuple

from ._engine import Claimed
from .lookahead import Lookahead

if TYPE_CHECKING:
    from .line import Line

LOOK_S = 0.025
"""What was claimed ahead and has not begun within twice this time is given back."""


_AT_ONCE = 32
"""So many actions begin per round of the event loop. What begins is a dozen objects until it ends; with
hundreds of them at once, and none of them garbage, the collector of garbage would look at all of them."""


class _Waiting(NamedTuple):
    line: Line
    claimed: Claimed


class Slots:
    """`size` actions run at once, in whatever `lines`; more wait here in the order they were claimed.
    A slot is taken from when it is an action's turn, also where a few others begin first.

    A handler that was given up and runs on keeps no slot, unless there are more of them than slots.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.lines: list[Line] = []
        self.lookahead = Lookahead(size)
        self._next: deque[_Waiting] = deque()
        self._soon: deque[_Waiting] = deque()  # these have slots
        self._beginning = False
        self.outside: Context | None = None  # no attempt's
        self.has_anterooms = False
        self._first_seen: _Waiting | None = None
        self._timer: asyncio.TimerHandle | None = None

    @property
    def running(self) -> int:
        """How many actions run."""
        return sum(line.running for line in self.lines)

    @property
    def _taken(self) -> int:
        running, given_up = len(self._soon), 0
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
        """How many actions of a line wait for a slot, or to begin. The heartbeat's thread asks, too."""
        if not self._soon and not self._next:
            return 0
        return sum(each.line is line for each in [*self._soon, *self._next])

    def enter(self, line: Line, actions: Iterable[Claimed]) -> None:
        """Let actions begin: now, soon, or as soon as it is their turn."""
        self.outside = copy_context()
        at_once = 0 if self._soon else _AT_ONCE
        free = 0 if self._next else self.size - self._taken
        for claimed in actions:
            if free <= 0 and (self._next or not self.free):  # one may have begun to wait for its handler
                self._wait(_Waiting(line, claimed))
                continue
            free -= 1
            if at_once > 0:
                at_once -= 1
                line.admit(claimed)
            else:
                self._soon.append(_Waiting(line, claimed))
        self._begin_more()

    def fill(self) -> None:
        """Start what there is room for by now: first what waits for its handler, then what for a slot."""
        for line in self.lines:
            line.refill()
        if self._soon:
            return  # they come first
        while self._next and self.free:
            line, claimed = self._next.popleft()
            line.start_late(claimed)

    def fill_from_inside(self) -> None:
        """`fill` for an attempt that ends, or its thread: what starts is to know nothing of their context."""
        if (self._next or self.has_anterooms) and self.outside is not None:
            self.outside.run(self.fill)

    def held(self, line: Line) -> list[Claimed]:
        """What waits here of a line."""
        return [each.claimed for each in (*self._soon, *self._next) if each.line is line]

    def take(self, line: Line, action_id: str) -> Claimed | None:
        """Take one action out."""
        for places in (self._soon, self._next):
            for each in places:
                if each.line is line and each.claimed.action_id == action_id:
                    places.remove(each)
                    return each.claimed
        return None

    def clear(self, line: Line) -> list[Claimed]:
        """Take all of a line out."""
        left = self.held(line)
        self._soon = deque(each for each in self._soon if each.line is not line)
        self._next = deque(each for each in self._next if each.line is not line)
        return left

    def _wait(self, waiting: _Waiting) -> None:
        self._next.append(waiting)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(LOOK_S, self._look_for_late)

    def _begin_more(self) -> None:
        """In the next round of the loop the next few of those that have a slot."""
        if self._soon and not self._beginning:
            self._beginning = True
            asyncio.get_running_loop().call_soon(self._begin_a_few)

    def _begin_a_few(self) -> None:
        self._beginning = False
        for _ in range(min(len(self._soon), _AT_ONCE)):
            line, claimed = self._soon.popleft()
            line.admit(claimed)
        self._begin_more()
        self.fill()

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
