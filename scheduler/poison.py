"""Poison: an action whose workers die, again and again, is taken out before it takes the next one along.

``reclaim`` counts with how many workers an action died. At the last of ``PoisonRule.deaths`` it leaves the
action where it is and tells; the action is then finished in the dead worker's name, as dead, through the same
fence as any outcome. Whoever stops in between changes nothing: the next ``reclaim`` tells it again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from . import scripts
from .model import Claimed, Finish, Outcome, Reclaimed

if TYPE_CHECKING:
    from .engine import Engine

APART_MS = 500
"""So far apart start, on their last chance, actions whose worker died: one of them may be who kills."""


class Poisoned(NamedTuple):
    """An action with which ``deaths`` workers died, the last of them ``worker_id``."""

    worker_id: str
    action: Claimed
    deaths: int

    @property
    def reason(self) -> str:
        """What its dead letter says."""
        return f"poison: {self.deaths} workers died while they ran it, the last was {self.worker_id}"


def bury(poisoned: Poisoned) -> Finish:
    """The end of a poisoned action, without an answer."""
    return Finish(poisoned.action, Outcome.DEAD, reason=poisoned.reason)


@dataclass(frozen=True)
class PoisonRule:
    """After ``deaths`` workers an action is dead; ``close`` says with which answer."""

    deaths: int = 5
    close: Callable[[Poisoned], Finish] = bury


async def reclaim(engine: Engine, domain: str, most: int, worker_id: str, lease_ms: int | str) -> Reclaimed:
    """``Engine.reclaim``: the script, the end of what it tells, then the script about the same worker."""
    script, root, taken = scripts.load("reclaim"), engine.keys.root(domain), 0
    while True:
        args = [engine.clock.now_ms(), most, worker_id, lease_ms, engine.poison.deaths, APART_MS]
        workers, actions, name, *told = await scripts.run(engine.redis, script, root, args)
        if not workers:
            return Reclaimed(int(taken > 0), taken)
        taken, worker_id = taken + actions, name.decode()
        if not told:
            return Reclaimed(workers, taken)
        finishes = [engine.poison.close(each) for each in _read_poisoned(worker_id, told)]
        taken += sum(await engine.finish(domain, worker_id, finishes))


def _read_poisoned(worker_id: str, flat: list[Any]) -> list[Poisoned]:
    found = []
    for at in range(0, len(flat), 6):
        token, stream, attempt, deaths, head, payload = flat[at : at + 6]
        tenant_id, tier = stream.decode().split(":")
        _, action_id, deadline, action_type, enqueued, reply_to, unique = head.decode().split(" ")
        action = Claimed(
            action_id,
            action_type,
            tenant_id,
            tier,
            payload,
            int(attempt),
            int(token),
            int(enqueued),
            0,
            int(deadline),
            "" if reply_to == "-" else reply_to,
            "" if unique == "-" else unique,
            expired=False,
        )
        found.append(Poisoned(worker_id, action, deaths))
    return found
