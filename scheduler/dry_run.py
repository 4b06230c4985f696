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
from .occupied import Occupied, Sample, Tenants, members, occupied
from .policy_diff import PolicyDiff, diff
from .tiers import Policy

_AT_ONCE = 200


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


class DryRun(NamedTuple):
    """What publishing would do. ``version``: the one it would replace, 0 for none.

    ``occupied`` is what stands in the way: such a policy is refused. ``moved``: what is in tiers that it
    lacks and goes along, each with the tier it goes to. ``domains``: those that were looked at.
    ``unserved``: others that the policy has rules for, but that no worker ever joined (a typo, or not yet).
    """

    version: int
    diff: PolicyDiff
    effects: list[TierEffect]
    occupied: list[Occupied]
    domains: list[str]
    unserved: list[str]
    moved: list[tuple[Occupied, str]]


async def dry_run(
    engine: Engine, domains: Sequence[str], old: Policy | None, new: Policy, version: int = 0
) -> DryRun:
    """What changes, and for whom, when ``new`` takes the place of ``old`` (version ``version``)."""
    gone = {*(old.moves if old else ()), *(old.tiers if old else ())} - {*new.tiers}
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
        await occupied(engine, domains, sorted(gone - {*new.moves})),
        list(domains),
        sorted(named.difference(domains)),
        [
            (each, new.moves[each.tier])
            for each in await occupied(engine, domains, sorted(gone & {*new.moves}))
        ],
    )


async def _effects(engine: Engine, domain: str, old: Policy, new: Policy) -> list[TierEffect]:
    found: dict[tuple[str, str], tuple[Sample, Sample]] = {}
    held = {scope async for scope in members(engine, "held", domain)}
    async for scopes in _batches(engine, domain, held):
        verdicts = await _weigh(engine, domain, old, new, scopes)
        for scope, (binds, would_bind) in zip(scopes, verdicts, strict=True):
            if bool(binds) == bool(would_bind):
                continue
            tenant, tier, shared = _parts(scope)
            if tier and tier not in new.tiers:
                continue  # see `occupied`
            again, over = found.setdefault((tier, shared), (Sample(), Sample()))
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
    async for scope in members(engine, "usage_due", domain):
        if scope not in seen:
            seen.add(scope)
            batch.append(scope)
        while len(batch) >= _AT_ONCE:
            yield batch[:_AT_ONCE]
            batch = batch[_AT_ONCE:]
    for start in range(0, len(batch), _AT_ONCE):
        yield batch[start : start + _AT_ONCE]


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
