"""What is used and left of a tenant's limits. Read-only; the figures come from the code that decides."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from . import scripts
from .aside import aside_lines
from .calendar import period_args
from .engine import Engine
from .errors import UnknownTierError
from .limits import Limit
from .stops import look as look_for_stops


class LimitStatus(NamedTuple):
    """How one limit stands.

    ``scope`` is whose starts it counts: ``tenant``, all of the ``tier`` or ``domain``, or ``named``: of
    action types that share it (its name, then the rate). At most ``amount`` starts in ``window_ms``; ``used``
    have been, ``remaining`` are left. ``more_at_ms``: when there will be more than now; ``full_at_ms``: when
    all of it is back. Both are epoch milliseconds, 0 while nothing is used. ``period`` names the calendar
    period of a calendar quota, else it is empty.
    """

    scope: str
    name: str
    strategy: str
    amount: int
    window_ms: int
    period: str
    remaining: int
    more_at_ms: int = 0
    full_at_ms: int = 0

    @property
    def used(self) -> int:
        """Starts that count against it now."""
        return self.amount - self.remaining


class TenantLimits(NamedTuple):
    """Every limit that binds the starts of one tenant in one tier of a domain, at ``at_ms``.

    ``max_concurrency`` 0 is none, and counts ``slots_taken``: what of the tenant runs in the domain,
    whichever tiers it started from. ``running`` of this tier are owned by workers, ``waiting`` could start
    if nothing bound them. ``held``: the tenant waits for a limit, ``held_why`` names it, ``held_until_ms``
    says when that frees (None: when one of its actions ends, or when it is resumed). ``own_rules``:
    operators have set some of them for this tenant, in place of its tier's. ``backlog`` of ``max_backlog``
    actions are in line, those due later included; counted only where the tier has such a limit (0: it has
    none). ``set_aside`` more have left the line because their types are paused, ``set_aside_types``.
    """

    domain: str
    tenant_id: str
    tier: str
    at_ms: int
    limits: list[LimitStatus]
    max_concurrency: int = 0
    running: int = 0
    waiting: int = 0
    held: bool = False
    held_until_ms: int | None = None
    held_why: str = ""
    own_rules: bool = False
    backlog: int = 0
    max_backlog: int = 0
    set_aside: int = 0
    set_aside_types: tuple[str, ...] = ()
    slots_taken: int = 0

    @property
    def free_slots(self) -> int:
        """How many more of its actions may run at once; 0 too when ``max_concurrency`` says nothing."""
        return max(self.max_concurrency - self.slots_taken, 0)

    @property
    def in_use(self) -> bool:
        """Whether the tenant has used, runs or waits for anything here."""
        used = any(limit.used for limit in self.limits if limit.scope == "tenant")
        return used or bool(self.running or self.waiting or self.set_aside)


async def tenant_limits(engine: Engine, domain: str, tenant_id: str, tier: str) -> TenantLimits:
    """How the limits of a tenant stand; a tenant never seen has used nothing.

    Raises :class:`UnknownTierError` for a tier that the domain's policy does not have.
    """
    periods: Sequence[str] = engine.policy.compile(domain).periods
    while True:
        now_ms = engine.clock.now_ms()
        args: list[Any] = [now_ms, tenant_id, tier, *period_args(periods, now_ms)]
        reply = await scripts.run(engine.redis, scripts.load("limits"), engine.keys.root(domain), args)
        match reply[0]:
            case b"nopolicy":
                return await _unused(engine, domain, tenant_id, tier, now_ms)
            case b"notier":
                raise UnknownTierError(tier, [name.decode() for name in reply[1:]])
            case b"periods":
                periods = [name.decode() for name in reply[1:]]
            case _:
                return await _with_more(engine, _read(reply, domain, tenant_id, tier, now_ms))


async def limits_in_use(engine: Engine, domain: str, tenant_id: str) -> list[TenantLimits]:
    """The same for every tier of the policy in which the tenant has used, runs or waits for something."""
    tiers = await tier_names(engine, domain)
    found = [await tenant_limits(engine, domain, tenant_id, tier) for tier in tiers]
    return [each for each in found if each.in_use]


async def tier_names(engine: Engine, domain: str) -> list[str]:
    """The tiers of the policy published in a domain, best first; our own policy's before any worker came."""
    text = await engine.redis.get(engine.keys.of("policy", domain))
    return [tier["name"] for tier in json.loads(text)["tiers"]] if text else engine.policy.names()


async def check_tier(engine: Engine, domain: str, tier: str) -> None:
    """Raises :class:`UnknownTierError` for a tier that the domain's policy does not have."""
    names = await tier_names(engine, domain)
    if tier not in names:
        raise UnknownTierError(tier, names)


def _read(reply: list[Any], domain: str, tenant_id: str, tier: str, now_ms: int) -> TenantLimits:
    _, own, concurrency, running, slots_taken, waiting, held_until, held_why, *rows = reply
    if held_until not in (b"", b"inf") and float(held_until) <= now_ms:
        held_until = held_why = b""  # the next claim ends it
    limits = [LimitStatus(*(_plain(part) for part in row)) for row in rows]
    until = None if held_until in (b"", b"inf") else int(float(held_until))
    return TenantLimits(
        domain,
        tenant_id,
        tier,
        now_ms,
        limits,
        concurrency,
        running,
        waiting,
        held_until != b"",
        until,
        held_why.decode(),
        own == 1,
        slots_taken=slots_taken,
    )


async def _with_more(engine: Engine, status: TenantLimits) -> TenantLimits:
    """What the script does not look at: what was set aside, what stops the whole tier, the backlog."""
    line = (status.tenant_id, status.tier)
    aside = (await aside_lines(engine, status.domain, line)).get(line)
    if aside is not None:
        status = status._replace(set_aside=aside.actions, set_aside_types=aside.types)
    stop = (await look_for_stops(engine, status.domain)).of(status.tier)
    if stop is not None and status.waiting and not status.held:
        status = status._replace(held=True, held_until_ms=stop.until_ms, held_why=stop.brief)
    return await _with_backlog(engine, status)


async def _with_backlog(engine: Engine, status: TenantLimits) -> TenantLimits:
    """What `enqueue` counts before it refuses for a full backlog."""
    keys, domain = engine.keys, status.domain
    text = await engine.redis.hget(keys.of("registry", domain), "*")
    most = json.loads(text).get("backlog", {}).get(status.tier, [0])[0] if text else 0
    if not most:
        return status
    line = f"{status.tenant_id}:{status.tier}"
    in_stream = await engine.redis.xlen(keys.stream(domain, status.tenant_id, status.tier))
    delayed = await engine.redis.hget(keys.of("delayed_count", domain), line)
    return status._replace(max_backlog=most, backlog=max(in_stream - status.running, 0) + int(delayed or 0))


def _plain(part: Any) -> Any:
    return part.decode() if isinstance(part, bytes) else part


async def _unused(engine: Engine, domain: str, tenant_id: str, tier: str, now_ms: int) -> TenantLimits:
    """No worker has served this domain yet: our own policy, of which nothing is used."""
    policy = engine.policy.compile(domain)
    known = {each.name: each for each in policy.tiers}
    if tier not in known:
        raise UnknownTierError(tier, list(known))

    def of(scope: str, limits: Sequence[Limit]) -> list[LimitStatus]:
        return [LimitStatus(scope, *limit, limit.amount) for limit in limits]

    limits = of("tenant", known[tier].limits) + of("tier", known[tier].tier_limits)
    limits += of("domain", policy.domain_limits)
    for each in policy.named:
        limits += of("named", [each.limit._replace(name=f"{each.name} {each.limit.name}")])
    waiting = int(await engine.redis.hget(engine.keys.of("waiting", domain), f"{tenant_id}:{tier}") or 0)
    concurrency = known[tier].max_concurrency
    return TenantLimits(domain, tenant_id, tier, now_ms, limits, concurrency, waiting=waiting)
