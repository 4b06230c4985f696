"""Which names exist: so that an operator's typing error changes nothing and is told what was near."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import aclosing
from difflib import get_close_matches

from .engine import Engine
from .inspect import OutcomeEvent, recent_events
from .matching import matching
from .usage import tier_names

_NAMES_LOOKED_AT = 20_000


async def tenant_is_known(engine: Engine, domain: str, tenant_id: str) -> bool:
    """Whether something of a tenant waits, runs, counts against a limit, is dead, or was set for it."""
    keys = engine.keys
    streams = [f"{tenant_id}:{tier}" for tier in await tier_names(engine, domain)]
    pipeline = engine.redis.pipeline(transaction=False)
    pipeline.hmget(keys.of("waiting", domain), streams)
    pipeline.hmget(keys.of("delayed_count", domain), streams)
    pipeline.zmscore(keys.of("usage_due", domain), streams)
    pipeline.exists(*(f"{keys.tag(domain)}:{stream}" for stream in streams))
    pipeline.hexists(keys.of("overrides", domain), tenant_id)
    pipeline.hexists(keys.of("registry", domain), tenant_id)
    pipeline.zscore(keys.of("dead_tenants", domain), tenant_id)
    waiting, delayed, used, *flags, dead = await pipeline.execute()
    return any(flags) or any(each is not None for each in [*waiting, *delayed, *used, dead])


async def tenants_like(engine: Engine, domains: Sequence[str], tenant_id: str) -> list[str]:
    """Known tenants whose name resembles ``tenant_id``, nearest first, at most three."""
    names: set[str] = set()
    redis = engine.redis
    for domain in domains:
        for name, scan in (
            ("waiting", redis.hscan_iter),
            ("usage_due", redis.zscan_iter),
            ("overrides", redis.hscan_iter),
            ("registry", redis.hscan_iter),
            ("dead_tenants", redis.zscan_iter),
        ):
            seen = 0
            async for item in scan(engine.keys.of(name, domain), count=1_000):
                names.add(item[0].decode().split(":")[0])
                seen += 1
                if seen >= _NAMES_LOOKED_AT:
                    break
    return get_close_matches(tenant_id, names - {"*"}, n=3, cutoff=0.5)


async def action_types(engine: Engine, domain: str) -> set[str]:
    """Action types that a worker handles, that were paused or share a limit, that wait or ended lately."""
    keys = engine.keys
    pipeline = engine.redis.pipeline(transaction=False)
    pipeline.hvals(keys.of("worker_info", domain))
    pipeline.hkeys(keys.of("pauses", domain))
    pipeline.get(keys.of("policy", domain))
    infos, paused, policy = await pipeline.execute()
    names = {name for info in infos for name in json.loads(info).get("handles") or ()}
    names |= {kind for what in paused if (kind := what.decode().partition(":")[2]) and "." in kind}
    names |= {name for each in json.loads(policy or b"{}").get("named", ()) for name in each["types"]}
    events, _ = await recent_events(engine, domain)
    names |= {event.action_type for event in events if isinstance(event, OutcomeEvent)}
    async with aclosing(matching(engine, domain)) as pages:  # type: ignore[type-var]  # it is a generator
        async for page in pages:
            return names | {each.action_type for each in page}
    return names


async def waiting_elsewhere(engine: Engine, domains: Sequence[str], tenant_id: str, tier: str) -> int:
    """How many actions of a tenant wait or run in other tiers than this one."""
    count = 0
    for domain in domains:
        for name in await tier_names(engine, domain):
            if name != tier:
                count += await engine.redis.xlen(engine.keys.stream(domain, tenant_id, name))
    return count
