"""Where claimed actions wait whose handler, or its threads or processes, have no room in this worker yet.

They wait here and not in Redis: what is released is next in its tenant's line and would be claimed again
at once, and being claimed spends the tenant's rate limits each time. They are owned, so the heartbeat keeps
them, but take no slot, so other handlers run. When too many wait, the surplus is put off for about as long as
those who wait will take: a worker then touches each action of a long backlog no more often than that.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Protocol

from ._engine import Claimed

if TYPE_CHECKING:
    from .service import BaseService

_SHORTEST_S, _LONGEST_S = 1.0, 60.0
_NEWEST_COUNTS = 0.2


class Pool(Protocol):
    """Threads or processes: how many may be in use, how many actions were let in, which are not free yet."""

    size: int
    admitted: int

    @property
    def lingering(self) -> int: ...


class _Room:
    """One handler's: at most `limit` at once (None: any number), and what its pool has room for."""

    def __init__(self, limit: int | None, pool: Pool | None) -> None:
        self.limit = limit
        self.pool = pool
        self.running = 0
        self.mean_s = _SHORTEST_S
        self.waiting: deque[Claimed] = deque()

    def enter(self) -> bool:
        if self.limit is not None and self.running >= self.limit:
            return False
        pool = self.pool
        if pool is not None:
            if pool.admitted + pool.lingering >= pool.size:
                return False
            pool.admitted += 1
        self.running += 1
        return True

    def leave(self, run_time_s: float) -> None:
        self.running -= 1
        self.mean_s += (run_time_s - self.mean_s) * _NEWEST_COUNTS
        if self.pool is not None:
            self.pool.admitted -= 1

    @property
    def at_once(self) -> int:
        most = self.pool.size if self.pool is not None else self.limit or 1
        return min(most, self.limit or most)


class Anteroom:
    """For the handlers of one service that have a limit; `most` may wait here altogether."""

    def __init__(self, service: BaseService, most: int) -> None:
        pools: dict[str, Pool] = {"thread": service.pools.threads, "process": service.pools.processes}
        self._rooms = {
            action_type: _Room(options.concurrency, pools.get(options.run_in))
            for action_type, options in service.all_options().items()
            if options.concurrency is not None or options.run_in in pools
        }
        self._most = most
        self.waiting = 0

    @property
    def needed(self) -> bool:
        """Whether any handler has a limit."""
        return bool(self._rooms)

    def enter(self, action_type: str) -> bool:
        """Whether it may run now; then it counts as running until `leave`."""
        room = self._rooms.get(action_type)
        return room is None or (not room.waiting and room.enter())

    def leave(self, action_type: str, run_time_s: float) -> None:
        """One that had entered has ended."""
        room = self._rooms.get(action_type)
        if room is not None:
            room.leave(run_time_s)

    def wait(self, claimed: Claimed) -> float:
        """Let it wait: 0; or, when too many do already, the seconds to put it off for."""
        room = self._rooms[claimed.action_type]
        if self.waiting < self._most:
            room.waiting.append(claimed)
            self.waiting += 1
            return 0.0
        drained_s = len(room.waiting) * room.mean_s / room.at_once
        return min(max(drained_s, _SHORTEST_S), _LONGEST_S)

    def admitted(self, has_slot: Callable[[], bool]) -> Iterator[Claimed]:
        """Those that may run now, while there is a slot for one more; each counts as running."""
        if not self.waiting:
            return
        for room in self._rooms.values():
            while room.waiting and has_slot() and room.enter():
                self.waiting -= 1
                yield room.waiting.popleft()

    def held(self) -> list[Claimed]:
        """What waits here."""
        return [claimed for room in self._rooms.values() for claimed in room.waiting]

    def take(self, action_id: str) -> Claimed | None:
        """Take one action out."""
        for room in self._rooms.values():
            for claimed in room.waiting:
                if claimed.action_id == action_id:
                    room.waiting.remove(claimed)
                    self.waiting -= 1
                    return claimed
        return None

    def clear(self) -> list[Claimed]:
        """Take all of them out."""
        left = self.held()
        for room in self._rooms.values():
            room.waiting.clear()
        self.waiting = 0
        return left
