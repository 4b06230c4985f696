"""What there is in the tiers of a domain: what a policy without one of them would leave behind. Read-only."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import NamedTuple

from .engine import Engine
from .moving import moves
from .schedules import read_record

NAMED = 10
"""So many tenants are named; the others are counted."""

_AT_ONCE = 200
_ALWAYS = ("waiting", "scheduled", "running", "registered")
_KINDS = (*_ALWAYS, "schedules")


class Tenants(NamedTuple):
    """Some tenants: how many, and the names of the first few."""

    total: int
    some: list[str]


class Occupied(NamedTuple):
    """What is left in a tier that a policy no longer has: such actions would never start, such tenants would
    fall to the default tier. What waits includes what is set aside. ``registered`` are tenants registered
    for the tier or on their way to it; an empty ``domain`` is all of them, while no domain was ever served.
    ``schedules`` (cron) name it."""

    domain: str
    tier: str
    tenants: Tenants
    waiting: int
    scheduled: int
    running: int
    registered: int
    schedules: int = 0

    def __str__(self) -> str:
        parts = [
            f"{getattr(self, name):,} {name}" for name in _KINDS if name in _ALWAYS or getattr(self, name)
        ]
        tenants = f"{self.tenants.total:,} tenant{'' if self.tenants.total == 1 else 's'}"
        return f"{self.domain or 'all domains'}: tier {self.tier} has {tenants} ({', '.join(parts)})"


class Sample:
    """Names of tenants, each once."""

    def __init__(self) -> None:
        self.names: set[str] = set()

    def tenants(self) -> Tenants:
        """How many, and the first few."""
        return Tenants(len(self.names), sorted(self.names)[:NAMED])


async def occupied(engine: Engine, domains: Sequence[str], tiers: Sequence[str]) -> list[Occupied]:
    """Which of these tiers still have something that waits, is scheduled or runs, or tenants, by domain."""
    found: list[Occupied] = []
    if tiers:
        for domain in domains:
            found += await _occupied(domain, tiers, all_there_is(engine, domain))
        if not domains:
            found += await _occupied("", tiers, _registered(engine, engine.keys.shared("tenants")))
    return found


async def _occupied(
    domain: str, tiers: Sequence[str], there_is: AsyncIterator[tuple[str, str, int]]
) -> list[Occupied]:
    counts = {tier: dict.fromkeys(_KINDS, 0) for tier in tiers}
    tenants = {tier: Sample() for tier in tiers}
    async for kind, scope, count in there_is:
        tenant, _, tier = scope.partition(":")
        if tier in counts:
            counts[tier][kind] += count
            tenants[tier].names.add(tenant)
    return [
        Occupied(domain, tier, tenants[tier].tenants(), **counts[tier])
        for tier in tiers
        if tenants[tier].names
    ]


async def _registered(engine: Engine, key: str) -> AsyncIterator[tuple[str, str, int]]:
    async for tenant, registration in engine.redis.hscan_iter(key, count=_AT_ONCE):
        if tenant != b"*":
            yield "registered", f"{tenant.decode()}:{registration.decode().partition(' ')[0]}", 1


async def all_there_is(engine: Engine, domain: str) -> AsyncIterator[tuple[str, str, int]]:
    """(kind; tenant:tier; how many) of everything in a domain, a few at a time."""
    redis, keys = engine.redis, engine.keys
    async for registration in _registered(engine, keys.of("registry", domain)):
        yield registration
    for tenant, record in (await moves(engine, domain)).items():
        yield "registered", f"{tenant}:{record.tier}", 0 if record.arrived else 1
    async for name, text in redis.hscan_iter(keys.of("schedules", domain), count=_AT_ONCE):
        schedule, _ = read_record(name.decode(), text)
        yield "schedules", f"{schedule.tenant_id}:{schedule.tier}", 1
    async for scope, count in redis.hscan_iter(keys.of("waiting", domain), count=_AT_ONCE):
        yield "waiting", scope.decode(), int(count)
    for field in await redis.hkeys(keys.of("pauses", domain)):
        kind, _, action_type = field.decode().partition(":")
        if kind in ("type", "resuming"):
            async for member, _ in redis.zscan_iter(
                keys.of("set_aside", domain, action_type), count=_AT_ONCE
            ):
                yield "waiting", member.split(b" ")[1].decode(), 1
    async for scope in _scheduled(engine, domain):
        yield "scheduled", scope, 1
    for worker in await redis.zrange(keys.of("workers", domain), 0, -1):
        for record in await redis.hvals(keys.of("owned", domain, worker.decode())):
            yield "running", record.split(b" ")[1].decode(), 1


async def _scheduled(engine: Engine, domain: str) -> AsyncIterator[str]:
    batch: list[str] = []
    async for action_id in members(engine, "scheduled", domain):
        batch.append(action_id)
        if len(batch) >= _AT_ONCE:
            for scope in await _places(engine, domain, batch):
                yield scope
            batch = []
    for scope in await _places(engine, domain, batch) if batch else ():
        yield scope


async def _places(engine: Engine, domain: str, action_ids: list[str]) -> list[str]:
    places = await engine.redis.hmget(engine.keys.of("actions", domain), action_ids)
    return [place.split(b" ")[0].decode() for place in places if place]


async def members(engine: Engine, name: str, domain: str) -> AsyncIterator[str]:
    """The members of a sorted set of a domain, a few at a time."""
    async for member, _ in engine.redis.zscan_iter(engine.keys.of(name, domain), count=_AT_ONCE):
        yield member.decode()
