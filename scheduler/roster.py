"""The workers of a domain: what each says about itself, what it runs, and messages from operators."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from . import scripts
from .engine import Engine
from .overrides import require_author

MESSAGES = ("quiet", "resume", "drain", "stop")
RUNNING_SHOWN = 10


class RunningAction(NamedTuple):
    """An action that a worker owns; ``since_ms``: when it was claimed, None when its entry is gone."""

    action_id: str
    action_type: str
    tenant_id: str
    tier: str
    attempt: int
    since_ms: int | None


class WorkerStanding(NamedTuple):
    """A registered worker. ``lease_until_ms``: it is dead when that has passed and no heartbeat comes.

    ``info`` is what it said about itself, empty for one of an older version. ``owned`` counts what it holds,
    ``running`` shows some of it.
    """

    worker_id: str
    domain: str
    lease_until_ms: int
    info: Mapping[str, Any]
    owned: int
    running: list[RunningAction]


async def describe(
    engine: Engine, domain: str, worker_id: str, info: Mapping[str, Any], *, claims: bool
) -> bool:
    """Keep what a worker says about itself; ``claims=False``: it is not to be woken for work any more."""
    args = [worker_id, json.dumps(dict(info), separators=(",", ":")), int(claims)]
    return bool(await scripts.run(engine.redis, scripts.load("describe"), engine.keys.root(domain), args))


async def pass_on(engine: Engine, domain: str, worker_id: str) -> None:
    """Wake another worker in place of this one, which was woken and has no free slot."""
    await scripts.run(engine.redis, scripts.load("pass_on"), engine.keys.root(domain), [worker_id])


async def instruct(
    engine: Engine, domain: str, message: str, worker_id: str = "", *, by: str, why: str = ""
) -> list[str]:
    """Tell a worker, or all of a domain, to ``quiet``, ``resume``, ``drain`` or ``stop``; who was told."""
    require_author(by)
    if message not in MESSAGES:
        raise ValueError(f"{message!r} is none of {', '.join(MESSAGES)}")
    args = [engine.clock.now_ms(), worker_id, message, by, why]
    told = await scripts.run(engine.redis, scripts.load("instruct"), engine.keys.root(domain), args)
    return [worker.decode() for worker in told]


async def workers(engine: Engine, domain: str, shown: int = RUNNING_SHOWN) -> list[WorkerStanding]:
    """The registered workers, with up to ``shown`` of the actions of each."""
    keys = engine.keys
    pipeline = engine.redis.pipeline(transaction=False)
    pipeline.zrange(keys.of("workers", domain), 0, -1, withscores=True)
    pipeline.hgetall(keys.of("worker_info", domain))
    leases, infos = await pipeline.execute()
    if not leases:
        return []
    pipeline = engine.redis.pipeline(transaction=False)
    for worker, _ in leases:
        owned = keys.of("owned", domain, worker.decode())
        pipeline.hlen(owned)
        pipeline.hscan(owned, count=max(shown, 1))
    replies = await pipeline.execute()
    standings = []
    for index, (worker, lease) in enumerate(leases):
        records = list(replies[2 * index + 1][1].items())[:shown]
        standings.append(
            WorkerStanding(
                worker.decode(),
                domain,
                int(lease),
                json.loads(infos.get(worker, b"{}")),
                replies[2 * index],
                await _running(engine, domain, records),
            )
        )
    return standings


async def _running(engine: Engine, domain: str, records: list[tuple[bytes, bytes]]) -> list[RunningAction]:
    if not records:
        return []
    places = [record.decode().split(" ")[1:4] for _, record in records]
    pipeline = engine.redis.pipeline(transaction=False)
    for scope, entry, _ in places:
        stream = f"{engine.keys.tag(domain)}:{scope}"
        pipeline.xrange(stream, entry, entry)
        pipeline.xpending_range(stream, "workers", entry, entry, 1)
    replies = await pipeline.execute(raise_on_error=False)
    now_ms, found = engine.clock.now_ms(), []
    for index, (action_id, _) in enumerate(records):
        scope, _, attempt = places[index]
        entries, pending = replies[2 * index], replies[2 * index + 1]
        tenant_id, _, tier = scope.partition(":")
        idle_ms = pending[0]["time_since_delivered"] if isinstance(pending, list) and pending else None
        found.append(
            RunningAction(
                action_id.decode(),
                _type_of(entries),
                tenant_id,
                tier,
                int(attempt),
                None if idle_ms is None else now_ms - idle_ms,
            )
        )
    return sorted(found, key=lambda each: each.since_ms or now_ms)


def _type_of(entries: Any) -> str:
    """The action type in an entry's header; empty when somebody deleted the entry."""
    if not isinstance(entries, list) or not entries:
        return ""
    head = entries[0][1].get(b"head", b"").decode().split(" ")
    return head[3] if len(head) > 3 else ""
