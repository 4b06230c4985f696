"""Which due times of a schedule were fired: the newest 1,000 of each, six bytes a due time.

The id of a due time's action is the same whoever fires it, but an id is known only while its action is alive
and for the duplicate window after. What is kept here outlasts that, for backfills.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from .engine import Engine

_SIZE = 6


class LastFired(NamedTuple):
    """The last due time that was attended to: which, when (epoch ms), as which action, and what became of it.

    ``accepted`` is False where the action was there already or the overlap policy passed it over.
    """

    due_ms: int
    at_ms: int
    action_id: str
    accepted: bool


def packed(due: Iterable[int]) -> bytes:
    """As ``scripts/fire.lua`` keeps them."""
    return b"".join(each.to_bytes(_SIZE, "big") for each in due)


async def known(engine: Engine, domain: str, schedule_id: str) -> set[int]:
    """The due times (epoch ms) that are known to have been fired, live or by a backfill."""
    raw = await engine.redis.hget(engine.keys.of("schedules_history", domain), schedule_id) or b""
    return {int.from_bytes(raw[at : at + _SIZE], "big") for at in range(0, len(raw), _SIZE)}


def last_fired(said: bytes) -> LastFired:
    """As the same script keeps the newest one."""
    due_ms, at_ms, action_id, outcome = said.decode().split(" ", 3)
    return LastFired(int(due_ms), int(at_ms), action_id, outcome == "1" or outcome.startswith("+"))
