"""Prepared actions on their way into line: through the client's middleware, domain by domain."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from redis.exceptions import RedisError

from ._engine import Enqueued, NewAction, SchedulerError, UnconfirmedError, children
from .bus import Bus
from .children import Child, cancel_sent
from .context import parent_of_sent
from .durability import raise_doubts
from .handle import unavailable
from .middleware import ClientMiddleware, after_enqueue
from .preparing import Prepared

_log = logging.getLogger(__name__)


async def send_one(bus: Bus, prepared: Prepared, middleware: Sequence[ClientMiddleware] = ()) -> Enqueued:
    """`send` of one action, which is what most calls send, by the shortest way."""
    if middleware or parent_of_sent() is not None:
        (said,) = await send(bus, (prepared,), middleware)
        return said
    _, domain, action = prepared
    calls = bus.calls
    try:
        if not bus.is_ready:
            await bus.ready()
        if not calls.begin():
            await calls.acquire()
        try:
            return await bus.engine.enqueue_one(domain, action)
        finally:
            calls.release()
    except UnconfirmedError as doubt:
        raise_doubts((doubt,))
        raise
    except (RedisError, OSError, SchedulerError) as error:
        raise unavailable(error) from error


async def send(
    bus: Bus, prepared: Sequence[Prepared], middleware: Sequence[ClientMiddleware] = ()
) -> list[Enqueued]:
    """What became of each; raises QueueUnavailable, or NotReplicated when they are in line but not safe."""
    parent = parent_of_sent()
    if parent is None:
        return await _send(bus, prepared, middleware)
    # In the same write as the enqueues, before them: who cancels the parent knows of whatever is in line.
    adopting = asyncio.create_task(_adopt(bus, parent, prepared), name="nooble-adopt")
    await asyncio.sleep(0)  # so that it begins first
    try:
        return await _send(bus, prepared, middleware)
    finally:
        await _disown(bus, parent, await adopting)


async def _adopt(bus: Bus, parent: tuple[str, str], prepared: Sequence[Prepared]) -> list[Child]:
    """Those of a parent that was cancelled, and ended without its handler: nobody else would reach them."""
    # With an idempotency key an earlier action may stand for it, which is somebody else's as well.
    sent = [Child.of(domain, action) for action, domain, _ in prepared if action.idempotency_key is None]
    try:
        lines = [child.line() for child in sent]
        if sent and await children.adopt(bus.engine, *parent, lines) == "cancelled":
            return sent
    except (RedisError, OSError, SchedulerError) as error:
        _log.warning("%s sends actions that its cancellation will not reach: %s", parent[1], error)
    return []


async def _disown(bus: Bus, parent: tuple[str, str], sent: Sequence[Child]) -> None:
    try:
        await cancel_sent(bus.engine, sent)
    except (RedisError, OSError, SchedulerError) as error:
        _log.warning("%s, which was cancelled, sent actions that run on: %s", parent[1], error)


async def _send(
    bus: Bus, prepared: Sequence[Prepared], middleware: Sequence[ClientMiddleware]
) -> list[Enqueued]:
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
    by_domain: dict[str, list[NewAction]] = {}
    for _, domain, new in prepared:
        by_domain.setdefault(domain, []).append(new)
    said: dict[str, list[Enqueued]] = {}
    doubts: list[UnconfirmedError] = []
    try:
        if not bus.is_ready:
            await bus.ready()
        for domain, actions in by_domain.items():
            async with bus.calls:
                try:
                    said[domain] = await bus.engine.enqueue(domain, actions)
                except UnconfirmedError as doubt:  # in line, but not on enough replicas
                    doubts.append(doubt)
                    said[domain] = doubt.enqueued
    except (RedisError, OSError, SchedulerError) as error:
        raise unavailable(error) from error
    raise_doubts(doubts)
    if len(said) == 1:
        return said.popitem()[1]
    in_order = {domain: iter(enqueued) for domain, enqueued in said.items()}
    return [next(in_order[domain]) for _, domain, _ in prepared]
