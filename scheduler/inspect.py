"""Read-only looks at the queue, apart from the hot path. Nothing here changes anything."""

from __future__ import annotations

from collections import deque
from typing import Any, NamedTuple

from .counts import DomainCounts, TierCounts, domain_counts
from .engine import Engine
from .model import State

_EVENTS_LOOKED_AT = 200


class OutcomeEvent(NamedTuple):
    """One accepted outcome, as the event stream tells it. ``claimed_ms``: when it started, 0: never."""

    at_ms: int
    action_id: str
    action_type: str
    tenant_id: str
    tier: str
    outcome: str
    queue_time_ms: int
    run_time_us: int
    attempt: int
    claimed_ms: int = 0


class HoldEvent(NamedTuple):
    """A tenant was held: which limit binds, and until when (None: until one of its actions ends)."""

    at_ms: int
    tenant_id: str
    tier: str
    until_ms: int | None
    limit: str


async def domains(engine: Engine) -> list[str]:
    """Domains that were ever served or sent something on this server."""
    prefix = f"{engine.keys.prefix}:"
    names = {name.decode() for name in await engine.redis.smembers(engine.keys.shared("domains"))}
    async for key in engine.redis.scan_iter(match=f"{prefix}*:[cp]o*", count=1000):  # counters, policy
        root, _, last = key.decode().removeprefix(prefix).rpartition(":")
        if last in ("counters", "policy"):
            names.add(root.removeprefix("{").removesuffix("}"))
    return sorted(names)


async def state_of(engine: Engine, domain: str, action_id: str) -> State:
    """Where an action is; ``unknown`` when it never was or has been forgotten."""
    keys, now_ms = engine.keys, engine.clock.now_ms()
    period = now_ms // engine.duplicate_window_ms
    pipeline = engine.redis.pipeline(transaction=False)
    pipeline.hget(keys.of("actions", domain), action_id)
    pipeline.hget(keys.of("done", domain, str(period)), action_id)
    pipeline.hget(keys.of("done", domain, str(period - 1)), action_id)
    pipeline.zscore(keys.of("scheduled", domain), action_id)
    pipeline.zrange(keys.of("workers", domain), 0, -1)
    place, done, done_before, scheduled, workers = await pipeline.execute()
    if place is None:
        ended = done or done_before
        return State(ended.decode()) if ended else State.UNKNOWN
    if scheduled is not None:
        return State.SCHEDULED
    if place.count(b" ") == 2:  # set aside: its type is paused
        return State.HELD
    pipeline = engine.redis.pipeline(transaction=False)
    stream = place.split(b" ")[0]
    pipeline.zscore(keys.of("held", domain), stream)
    pipeline.hmget(keys.of("pauses", domain), "domain", b"tier:" + stream.split(b":")[1])
    for worker in workers:
        pipeline.hexists(keys.of("owned", domain, worker.decode()), action_id)
    held, paused, *owned = await pipeline.execute()
    if any(owned):
        return State.RUNNING
    return State.READY if held is None and paused == [None, None] else State.HELD


async def recent_events(
    engine: Engine, domain: str, after: str = "-", count: int = _EVENTS_LOOKED_AT
) -> tuple[list[OutcomeEvent | HoldEvent], str]:
    """Events since an entry id of the event stream (``-``: the latest ``count`` calls), and the last id."""
    key = engine.keys.of("events", domain)
    if after == "-":
        entries = list(reversed(await engine.redis.xrevrange(key, count=count)))
    else:
        entries = await engine.redis.xrange(key, min=f"({after}", count=count)
    events: deque[OutcomeEvent | HoldEvent] = deque()
    for _, fields in entries:
        for line in fields[b"lines"].decode().split("\n"):
            event = parse_event(line)
            if event is not None:
                events.append(event)
    last = entries[-1][0].decode() if entries else ("0-0" if after == "-" else after)
    return list(events), last


def parse_event(line: str) -> OutcomeEvent | HoldEvent | None:
    """One line of an event entry; None for a kind this version does not know."""
    parts: list[Any] = line.split(" ")
    if parts[0] == "outcome" and len(parts) in (9, 10):
        tenant_id, tier = parts[4].split(":")
        return OutcomeEvent(
            int(parts[1]), parts[2], parts[3], tenant_id, tier, parts[5], *map(int, parts[6:])
        )
    if parts[0] == "hold" and len(parts) >= 5:
        tenant_id, tier = parts[2].split(":")
        until = None if parts[3] == "inf" else int(float(parts[3]))
        return HoldEvent(int(parts[1]), tenant_id, tier, until, " ".join(parts[4:]))
    return None


__all__ = [
    "DomainCounts",
    "HoldEvent",
    "OutcomeEvent",
    "TierCounts",
    "domain_counts",
    "domains",
    "parse_event",
    "recent_events",
    "state_of",
]
