"""Prepared actions on their way into line: through the client's middleware, one round trip per domain."""

from __future__ import annotations

from collections.abc import Sequence

from redis.exceptions import RedisError

from ._engine import Enqueued, NewAction, SchedulerError, UnconfirmedError
from .actions import DomainAction
from .bus import Bus
from .children import MOST_KEPT, Child
from .context import in_attempt, note_child
from .durability import raise_doubts, with_doubts
from .handle import unavailable
from .middleware import ClientMiddleware, after_enqueue

Prepared = tuple[DomainAction, str, NewAction]
"""An action, the domain it goes to, and how the engine gets it."""


async def send(
    bus: Bus, prepared: Sequence[Prepared], middleware: Sequence[ClientMiddleware] = ()
) -> list[Enqueued]:
    """What became of each; raises QueueUnavailable, or NotReplicated when they are in line but not safe."""
    if in_attempt():
        for action, domain, _ in prepared:
            if action.idempotency_key is None:  # else an earlier action may stand for it
                note_child(Child.of(domain, action), MOST_KEPT)
    if not middleware:
        return await _put_in_line(bus, prepared)
    actions = [action for action, _, _ in prepared]
    try:
        said = await _put_in_line(bus, prepared)
    except Exception as error:
        await after_enqueue(middleware, actions, error)
        raise
    await after_enqueue(middleware, actions, None)
    return said


async def _put_in_line(bus: Bus, prepared: Sequence[Prepared]) -> list[Enqueued]:
    by_domain: dict[str, list[int]] = {}
    for index, (_, domain, _) in enumerate(prepared):
        by_domain.setdefault(domain, []).append(index)
    said: dict[int, Enqueued] = {}
    doubts: list[UnconfirmedError] = []
    try:
        await bus.ready()
        for domain, indexes in by_domain.items():
            async with bus.calls:
                call = bus.engine.enqueue(domain, [prepared[i][2] for i in indexes])
                enqueued = await with_doubts(call, doubts)
            said.update(zip(indexes, enqueued, strict=True))
    except (RedisError, OSError, SchedulerError) as error:
        raise unavailable(error) from error
    raise_doubts(doubts)
    return [said[index] for index in range(len(prepared))]
