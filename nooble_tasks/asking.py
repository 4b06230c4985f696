"""What a turn has asked the engine for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any, NamedTuple

from ._engine import Engine, Finish
from .line import Line


class Asked(NamedTuple):
    """A turn that is on its way, and what its line had counted by then."""

    finishes: list[Finish]
    slots: int
    worker_id: str
    wakes: int
    returns: int
    leases_lost: int
    at_s: float
    answer: Awaitable[Any]

    def still(self, line: Line, worker_id: str) -> bool:
        """Whether the answer is about the present lease: an earlier one's actions belong to others by now."""
        return self.worker_id == worker_id and self.leases_lost == line.leases_lost


def ask(engine: Engine, line: Line, worker_id: str, slots: int) -> Asked:
    """Hand in what ended and claim as much; the request is on its way before anybody awaits the answer."""
    finishes = line.take_ended()
    answer: Awaitable[Any]
    try:
        if slots > 0:
            answer = engine.finish_and_claim(line.domain, worker_id, finishes, slots)
        else:
            answer = engine.finish(line.domain, worker_id, finishes)
    except Exception as error:
        answer = _failed(error)
    now_s = asyncio.get_running_loop().time()
    return Asked(finishes, slots, worker_id, line.wakes, line.returns, line.leases_lost, now_s, answer)


async def _failed(error: Exception) -> None:
    raise error
