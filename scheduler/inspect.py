"""Read-only looks at the queue, apart from the hot path. Nothing here changes anything."""

from __future__ import annotations

from collections import deque
from typing import Any, NamedTuple

from .engine import Engine
from .model import State

_TENANTS_LOOKED_AT = 5_000
_EVENTS_LOOKED_AT = 200


class TierCounts(NamedTuple):
    """How one tier of a domain stands. Actions, except ``tenants_*``.

    ``ready`` could start now, ``held`` wait for a limit, ``scheduled`` for their time (all tiers of the
    domain counted together are in :class:`DomainCounts`), ``running`` are owned by a worker. The totals count
    from the beginning.
    """

    tier: str
    ready: int
    held: int
    running: int
    tenants_ready: int
    tenants_held: int
    enqueued: int
    completed: int
    dead: int
    retried: int
    held_times: int
    cancelled: int = 0
    expired: int = 0


class DomainCounts(NamedTuple):
    """How a domain stands. ``scheduled``: delayed and retrying actions; ``sleepers``: idle workers."""

    domain: str
    tiers: list[TierCounts]
    scheduled: int
    workers: int
    sleepers: int


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


async def domain_counts(engine: Engine, domain: str) -> DomainCounts:
    """Counts of every tier of a domain, in two round trips."""
    keys, tiers = engine.keys, engine.policy.names()
    pipeline = engine.redis.pipeline(transaction=False)
    pipeline.hgetall(keys.of("waiting", domain))
    pipeline.zrange(keys.of("held", domain), 0, _TENANTS_LOOKED_AT)
    pipeline.hgetall(keys.of("counters", domain))
    pipeline.zcard(keys.of("scheduled", domain))
    pipeline.zrange(keys.of("workers", domain), 0, -1)
    pipeline.zcard(keys.of("sleepers", domain))
    waiting, held, counters, scheduled, workers, sleepers = await pipeline.execute()
    held_streams = {stream.decode() for stream in held}
    running = await _running(engine, domain, [worker.decode() for worker in workers])
    rows = [_tier_counts(tier, waiting, held_streams, counters, running) for tier in tiers]
    return DomainCounts(domain, rows, scheduled, len(workers), sleepers)


async def _running(engine: Engine, domain: str, workers: list[str]) -> dict[str, int]:
    """Owned actions per tier."""
    pipeline = engine.redis.pipeline(transaction=False)
    for worker in workers:
        pipeline.hvals(engine.keys.of("owned", domain, worker))
    running: dict[str, int] = {}
    for records in await pipeline.execute() if workers else ():
        for record in records:
            tier = record.split(b" ")[1].split(b":")[1].decode()
            running[tier] = running.get(tier, 0) + 1
    return running


def _tier_counts(
    tier: str,
    waiting: dict[bytes, bytes],
    held_streams: set[str],
    counters: dict[bytes, bytes],
    running: dict[str, int],
) -> TierCounts:
    ready = held = tenants_ready = tenants_held = 0
    for raw, count in waiting.items():
        stream = raw.decode()
        if not stream.endswith(f":{tier}"):
            continue
        if stream in held_streams:
            held, tenants_held = held + int(count), tenants_held + 1
        else:
            ready, tenants_ready = ready + int(count), tenants_ready + 1

    def total(name: str) -> int:
        return int(counters.get(f"{tier}:{name}".encode(), 0))

    return TierCounts(
        tier,
        ready,
        held,
        running.get(tier, 0),
        tenants_ready,
        tenants_held,
        total("enqueued"),
        total("completed"),
        total("dead"),
        total("retry"),
        total("held"),
        total("cancelled"),
        total("expired"),
    )


async def domains(engine: Engine) -> list[str]:
    """Domains that have ever had a policy published on this server."""
    prefix = f"{engine.keys.prefix}:"
    found = [key async for key in engine.redis.scan_iter(match=f"{prefix}*:policy", count=1000)]
    names = [key.decode().removeprefix(prefix).removesuffix(":policy") for key in found]
    return sorted(name.removeprefix("{").removesuffix("}") for name in names)


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
    pipeline = engine.redis.pipeline(transaction=False)
    pipeline.zscore(keys.of("held", domain), place.split(b" ")[0])
    for worker in workers:
        pipeline.hexists(keys.of("owned", domain, worker.decode()), action_id)
    held, *owned = await pipeline.execute()
    if any(owned):
        return State.RUNNING
    return State.HELD if held is not None else State.READY


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
