"""Read-only looks at the queue, apart from the hot path. Nothing here changes anything."""

from __future__ import annotations

from collections import deque
from typing import Any, NamedTuple

from . import stops
from .counts import DomainCounts, TierCounts, domain_counts
from .engine import Engine
from .model import Scope, State
from .overrides import read_override
from .stops import read_scope

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


class BackpressureEvent(NamedTuple):
    """A handler said not now to more than its tenant: to a domain, a tier or a named limit."""

    at_ms: int
    scope: Scope
    name: str
    until_ms: int


Event = OutcomeEvent | HoldEvent | BackpressureEvent


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
    tenant_id, tier = stream.decode().split(":")
    pipeline.zscore(keys.of("backpressure", domain), stream)
    pipeline.hget(keys.of("overrides", domain), tenant_id)
    for worker in workers:
        pipeline.hexists(keys.of("owned", domain, worker.decode()), action_id)
    held, pressed_until, rules, *owned = await pipeline.execute()
    if any(owned):
        return State.RUNNING
    pressed = pressed_until is not None and pressed_until > now_ms
    holds = held is not None and held > now_ms  # else the next claim ends it
    if holds or pressed or (rules is not None and read_override(rules).paused):
        return State.HELD
    return State.HELD if (await stops.look(engine, domain)).of(tier) else State.READY


async def recent_events(
    engine: Engine, domain: str, after: str = "-", count: int = _EVENTS_LOOKED_AT
) -> tuple[list[Event], str]:
    """Events since an entry id of the event stream (``-``: the latest ``count`` calls), and the last id."""
    key = engine.keys.of("events", domain)
    if after == "-":
        entries = list(reversed(await engine.redis.xrevrange(key, count=count)))
    else:
        entries = await engine.redis.xrange(key, min=f"({after}", count=count)
    events: deque[Event] = deque()
    for _, fields in entries:
        for line in fields[b"lines"].decode().split("\n"):
            event = parse_event(line)
            if event is not None:
                events.append(event)
    last = entries[-1][0].decode() if entries else ("0-0" if after == "-" else after)
    return list(events), last


def parse_event(line: str) -> Event | None:
    """One line of an event entry; None for a kind this version does not know."""
    parts: list[Any] = line.split(" ")
    if parts[0] == "outcome" and len(parts) in (9, 10):
        tenant_id, tier = parts[4].split(":")
        return OutcomeEvent(
            int(parts[1]), parts[2], parts[3], tenant_id, tier, parts[5], *map(int, parts[6:])
        )
    if parts[0] == "backpressure" and len(parts) == 4:
        return BackpressureEvent(int(parts[1]), *read_scope(parts[2]), int(parts[3]))
    if parts[0] == "hold" and len(parts) >= 5:
        tenant_id, tier = parts[2].split(":")
        until = None if parts[3] == "inf" else int(float(parts[3]))
        return HoldEvent(int(parts[1]), tenant_id, tier, until, " ".join(parts[4:]))
    return None


__all__ = [
    "BackpressureEvent",
    "DomainCounts",
    "Event",
    "HoldEvent",
    "OutcomeEvent",
    "TierCounts",
    "domain_counts",
    "domains",
    "parse_event",
    "recent_events",
    "state_of",
]
