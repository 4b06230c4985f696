"""What publishing a policy would do to the tenants there are, before it is done. Read-only.

The figures come from the function that `claim` decides with (``scripts/weigh.lua``), a bounded number of
tenants per call, so a dry run disturbs nobody; what changes while it looks may be counted either way.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any, NamedTuple

from . import scripts
from .calendar import period_at
from .engine import Engine
from .policy_diff import PolicyDiff, diff
from .tiers import Policy

NAMED = 10
"""So many tenants are named; the others are counted."""

_AT_ONCE = 200


_KINDS = ("waiting", "scheduled", "running", "registered")


class Tenants(NamedTuple):
    """Some tenants: how many, and the names of the first few."""

    total: int
    some: list[str]


class TierEffect(NamedTuple):
    """What happens to tenants of one tier in one domain.

    ``start_again``: held by a limit now, by none then. ``over``: free now, but what they have used already is
    as much as the new limits allow, so they would be held. ``shared`` names a limit that binds many together:
    ``tier``, ``domain`` or ``limit <name>`` (the last two of all tiers: ``tier`` is empty). Then it is
    counted itself, as one.
    """

    domain: str
    tier: str
    shared: str
    start_again: Tenants
    over: Tenants


class Occupied(NamedTuple):
    """What is left in a tier that a policy no longer has: such actions would never start, such tenants would
    fall to the default tier. What waits includes what is set aside. ``registered`` are tenants registered
    for the tier; an empty ``domain`` is all of them, while no domain was ever served."""

    domain: str
    tier: str
    tenants: Tenants
    waiting: int
    scheduled: int
    running: int
    registered: int

    def __str__(self) -> str:
        parts = [f"{getattr(self, name):,} {name}" for name in _KINDS]
        tenants = f"{self.tenants.total:,} tenant{'' if self.tenants.total == 1 else 's'}"
        return f"{self.domain or 'all domains'}: tier {self.tier} has {tenants} ({', '.join(parts)})"


class DryRun(NamedTuple):
    """What publishing would do. ``version``: the one it would replace, 0 for none.

    ``occupied`` is what stands in the way: such a policy is refused. ``domains``: those that were looked at.
    ``unserved``: others that the policy has rules for, but that no worker ever joined (a typo, or not yet).
    """

    version: int
    diff: PolicyDiff
    effects: list[TierEffect]
    occupied: list[Occupied]
    domains: list[str]
    unserved: list[str]


async def dry_run(
    engine: Engine, domains: Sequence[str], old: Policy | None, new: Policy, version: int = 0
) -> DryRun:
    """What changes, and for whom, when ``new`` takes the place of ``old`` (version ``version``)."""
    changed = diff(old, new)
    effects: list[TierEffect] = []
    if old is not None and not changed.empty:
        for domain in domains:
            effects += await _effects(engine, domain, old, new)
    named = {*new.domains, *(domain for tier in new.tiers.values() for domain in tier.domains)}
    return DryRun(
        version,
        changed,
        effects,
        await occupied(engine, domains, changed.removed),
        list(domains),
        sorted(named.difference(domains)),
    )


class _Sample:
    def __init__(self) -> None:
        self.names: set[str] = set()

    def tenants(self) -> Tenants:
        return Tenants(len(self.names), sorted(self.names)[:NAMED])


async def _effects(engine: Engine, domain: str, old: Policy, new: Policy) -> list[TierEffect]:
    found: dict[tuple[str, str], tuple[_Sample, _Sample]] = {}
    held = {scope async for scope in _members(engine, "held", domain)}
    async for scopes in _batches(engine, domain, held):
        verdicts = await _weigh(engine, domain, old, new, scopes)
        for scope, (binds, would_bind) in zip(scopes, verdicts, strict=True):
            if bool(binds) == bool(would_bind):
                continue
            tenant, tier, shared = _parts(scope)
            if tier and tier not in new.tiers:
                continue  # see `occupied`
            again, over = found.setdefault((tier, shared), (_Sample(), _Sample()))
            if would_bind:
                over.names.add(tenant)
            elif scope in held or shared:
                again.names.add(tenant)
    order = ["", *new.names(domain)]
    rows = sorted(found.items(), key=lambda item: (order.index(item[0][0]), item[0][1]))
    return [
        TierEffect(domain, tier, shared, again.tenants(), over.tenants())
        for (tier, shared), (again, over) in rows
        if again.names or over.names
    ]


def _parts(scope: str) -> tuple[str, str, str]:
    """Tenant, tier and shared limit of a limit scope."""
    tenant, _, tier = scope.partition(":")
    if scope.startswith("@"):
        return scope, "", f"limit {scope[1:]}"
    if tenant == "*":
        return scope, tier, "tier" if tier else "domain"
    return tenant, tier, ""


async def _batches(engine: Engine, domain: str, held: Iterable[str]) -> AsyncIterator[list[str]]:
    """Every scope that is held or has used something, each once."""
    batch, seen = list(held), set(held)
    async for scope in _members(engine, "usage_due", domain):
        if scope not in seen:
            seen.add(scope)
            batch.append(scope)
        while len(batch) >= _AT_ONCE:
            yield batch[:_AT_ONCE]
            batch = batch[_AT_ONCE:]
    for start in range(0, len(batch), _AT_ONCE):
        yield batch[start : start + _AT_ONCE]


async def _members(engine: Engine, name: str, domain: str) -> AsyncIterator[str]:
    async for member, _ in engine.redis.zscan_iter(engine.keys.of(name, domain), count=_AT_ONCE):
        yield member.decode()


async def _weigh(
    engine: Engine, domain: str, old: Policy, new: Policy, scopes: Sequence[str]
) -> list[tuple[str, str]]:
    now_ms = engine.clock.now_ms()
    policies = [policy.compile(domain) for policy in (old, new)]
    periods: list[Any] = []
    for name in dict.fromkeys(name for compiled in policies for name in compiled.periods):
        period = period_at(name, now_ms)
        periods += (name, period.start_ms, period.end_ms)
    args = [now_ms, *(compiled.to_json() for compiled in policies), len(periods), *periods, *scopes]
    reply = await scripts.run(engine.redis, scripts.load("weigh"), engine.keys.root(domain), args)
    texts = [text.decode() for text in reply]
    return list(zip(texts[::2], texts[1::2], strict=True))


async def occupied(engine: Engine, domains: Sequence[str], tiers: Sequence[str]) -> list[Occupied]:
    """Which of these tiers still have something that waits, is scheduled or runs, or tenants, by domain."""
    found: list[Occupied] = []
    if tiers:
        for domain in domains:
            found += await _occupied(domain, tiers, _all_there_is(engine, domain))
        if not domains:
            found += await _occupied("", tiers, _registered(engine, engine.keys.shared("tenants")))
    return found


async def _occupied(
    domain: str, tiers: Sequence[str], there_is: AsyncIterator[tuple[str, str, int]]
) -> list[Occupied]:
    counts = {tier: dict.fromkeys(_KINDS, 0) for tier in tiers}
    tenants = {tier: _Sample() for tier in tiers}
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


async def _all_there_is(engine: Engine, domain: str) -> AsyncIterator[tuple[str, str, int]]:
    """(kind; tenant:tier; how many) of everything in a domain, a few at a time."""
    redis, keys = engine.redis, engine.keys
    async for registration in _registered(engine, keys.of("registry", domain)):
        yield registration
    async for scope, count in redis.hscan_iter(keys.of("waiting", domain), count=_AT_ONCE):
        yield "waiting", scope.decode(), int(count)
    for field in await redis.hkeys(keys.of("pauses", domain)):
        kind, _, action_type = field.decode().partition(":")
        if kind in ("type", "resuming"):
            async for member, _ in redis.zscan_iter(
                keys.of("set_aside", domain, action_type), count=_AT_ONCE
            ):
                yield "waiting", member.split(b" ")[1].decode(), 1
    batch: list[str] = []
    async for action_id in _members(engine, "scheduled", domain):
        batch.append(action_id)
        if len(batch) >= _AT_ONCE:
            for scope in await _places(engine, domain, batch):
                yield "scheduled", scope, 1
            batch = []
    for scope in await _places(engine, domain, batch) if batch else ():
        yield "scheduled", scope, 1
    for worker in await redis.zrange(keys.of("workers", domain), 0, -1):
        for record in await redis.hvals(keys.of("owned", domain, worker.decode())):
            yield "running", record.split(b" ")[1].decode(), 1


async def _places(engine: Engine, domain: str, action_ids: list[str]) -> list[str]:
    places = await engine.redis.hmget(engine.keys.of("actions", domain), action_ids)
    return [place.split(b" ")[0].decode() for place in places if place]
