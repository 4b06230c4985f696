"""Tenants registered for all domains, those to come included: a new domain begins with a copy.

A domain is announced before the copy begins, and a registration is written here before the domains are
listed: whoever registers a tenant meanwhile either finds it copied or writes it into the domain itself.
"""

from __future__ import annotations

from typing import Any

from .keys import Keys

_AT_ONCE = 500


async def copy_into(redis: Any, keys: Keys, domain: str) -> None:
    """Give a new domain the registrations there are; what it knows already stays."""
    await redis.sadd(keys.shared("domains"), domain)
    draining = {name.decode() for name in await redis.smembers(keys.shared("draining"))}
    registry = keys.of("registry", domain)
    cursor = 0
    while True:
        cursor, found = await redis.hscan(keys.shared("tenants"), cursor, count=_AT_ONCE)
        pipeline = redis.pipeline(transaction=False)
        for name, tier in found.items():
            tenant = name.decode()
            record = tier.decode() + (" drain" if tenant in draining else "")
            draining.discard(tenant)
            pipeline.hsetnx(registry, tenant, record)
        await pipeline.execute()
        if not cursor:
            break
    for tenant in draining:
        await redis.hsetnx(registry, tenant, "- drain")
