"""How much of a stretch of time lies in given intervals."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from itertools import accumulate


class Intervals:
    """Intervals of time, merged where they overlap."""

    def __init__(self, pairs: Iterable[tuple[int, int]] = ()) -> None:
        merged: list[list[int]] = []
        for begin, end in sorted(pairs):
            if merged and begin <= merged[-1][1]:
                merged[-1][1] = max(merged[-1][1], end)
            else:
                merged.append([begin, end])
        self._begins = [begin for begin, _ in merged]
        self._ends = [end for _, end in merged]
        self._before = [0, *accumulate(end - begin for begin, end in merged)]

    def within(self, from_ms: int, until_ms: int) -> int:
        """How much of that stretch they cover."""
        return self._until(until_ms) - self._until(from_ms) if until_ms > from_ms else 0

    def _until(self, ms: int) -> int:
        at = bisect_right(self._begins, ms)
        if not at:
            return 0
        return self._before[at] - max(self._ends[at - 1] - ms, 0)
