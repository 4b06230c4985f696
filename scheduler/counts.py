"""How many actions and tenants of each tier wait, are held, run. Read-only, a page of tenants at a time."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from typing import Any, NamedTuple

from .engine import Engine
from .overrides import paused_tenants
from .stops import Stops
from .stops import look as look_for_stops

PAGE = 1_000
"""Tenants per command: what a look costs the server at a time does not grow with their number."""


class TierCounts(NamedTuple):
    """How one tier of a domain stands. Actions, except ``tenants_*``.

    ``ready`` could start now, ``held`` wait for a limit or a resume, their own or their tier's or domain's,
    ``scheduled`` for their time (all tiers of the domain counted together are in :class:`DomainCounts`),
    ``running`` are owned by a worker. The totals count from the beginning.
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
    """How a domain stands. ``scheduled``: delayed and retrying actions; ``workers`` whose lease holds, and
    ``sleepers``, those of them that are idle.
    ``set_aside``: actions of paused types; they are in no tier's counts. ``stops``: what is in the way of
    more than one tenant.
    """

    domain: str
    tiers: list[TierCounts]
    scheduled: int
    workers: int
    sleepers: int
    set_aside: int = 0
    stops: Stops = Stops(None, {}, {})


class Waiting(NamedTuple):
    """One tenant's line in one tier. ``held_until``: None not held, ``inf`` until an action of it ends."""

    tenant_id: str
    tier: str
    actions: int
    held_until: float | None


async def domain_counts(engine: Engine, domain: str) -> DomainCounts:
    """Counts of every tier of a domain."""
    keys = engine.keys
    pipeline = engine.redis.pipeline(transaction=False)
    pipeline.get(keys.of("policy", domain))
    pipeline.hgetall(keys.of("counters", domain))
    pipeline.zcard(keys.of("scheduled", domain))
    pipeline.zrangebyscore(keys.of("workers", domain), engine.clock.now_ms(), "+inf")
    pipeline.zrange(keys.of("sleepers", domain), 0, -1)
    pipeline.hkeys(keys.of("pauses", domain))
    policy, counters, scheduled, workers, sleepers, paused = await pipeline.execute()
    tiers = [tier["name"] for tier in json.loads(policy)["tiers"]] if policy else engine.policy.names()
    running: dict[str, int] = {}
    for (_, tier), count in (await running_by_line(engine, domain)).items():
        running[tier] = running.get(tier, 0) + count
    stops, resting = await look_for_stops(engine, domain), await paused_tenants(engine, domain)
    sums = {tier: [0, 0, 0, 0] for tier in tiers}
    async for page in waiting_pages(engine, domain):
        for line in page:
            of_tier = sums.get(line.tier)
            if of_tier is not None:
                bound = line.held_until is not None or line.tenant_id in resting
                held = bound or stops.of(line.tier) is not None
                of_tier[held] += line.actions
                of_tier[2 + held] += 1
    rows = [_tier_counts(tier, sums[tier], counters, running.get(tier, 0)) for tier in tiers]
    set_aside = await _set_aside(engine, domain, paused)
    idle = len({*sleepers} & {*workers})
    return DomainCounts(domain, rows, scheduled, len(workers), idle, set_aside, stops)


async def _set_aside(engine: Engine, domain: str, paused: list[bytes]) -> int:
    """Actions that left their lines because their type is paused."""
    pipeline = engine.redis.pipeline(transaction=False)
    for what in paused:
        kind, _, name = what.decode().partition(":")
        if kind in ("type", "resuming"):
            pipeline.zcard(engine.keys.of("set_aside", domain, name))
    return sum(await pipeline.execute()) if len(pipeline) else 0


async def waiting_pages(engine: Engine, domain: str) -> AsyncIterator[list[Waiting]]:
    """Every line with something in it, page by page; one may come twice while many come and go."""
    keys, cursor = engine.keys, 0
    while True:
        cursor, found = await engine.redis.hscan(keys.of("waiting", domain), cursor, count=PAGE)
        yield await _with_holds(engine, keys.of("held", domain), found)
        if not cursor:
            return


async def _with_holds(engine: Engine, held_key: str, found: dict[bytes, bytes]) -> list[Waiting]:
    if not found:
        return []
    scores = await engine.redis.zmscore(held_key, list(found))
    page, now_ms = [], engine.clock.now_ms()
    for (stream, count), score in zip(found.items(), scores, strict=True):
        held_until = score if score is not None and score > now_ms else None  # else the next claim ends it
        tenant_id, tier = stream.decode().split(":")
        page.append(Waiting(tenant_id, tier, int(count), held_until))
    return page


async def running_by_line(engine: Engine, domain: str) -> dict[tuple[str, str], int]:
    """Owned actions of each (tenant, tier): as many as there are slots at most."""
    workers: Sequence[bytes] = await engine.redis.zrange(engine.keys.of("workers", domain), 0, -1)
    pipeline = engine.redis.pipeline(transaction=False)
    for worker in workers:
        pipeline.hvals(engine.keys.of("owned", domain, worker.decode()))
    running: dict[tuple[str, str], int] = {}
    for records in await pipeline.execute() if workers else ():
        for record in records:
            tenant_id, tier = record.split(b" ")[1].decode().split(":")
            running[tenant_id, tier] = running.get((tenant_id, tier), 0) + 1
    return running


def _tier_counts(tier: str, sums: Sequence[int], counters: dict[bytes, Any], running: int) -> TierCounts:
    ready, held, tenants_ready, tenants_held = sums

    def total(name: str) -> int:
        return int(counters.get(f"{tier}:{name}".encode(), 0))

    return TierCounts(
        tier,
        ready,
        held,
        running,
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
