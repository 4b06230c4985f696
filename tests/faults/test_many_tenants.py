"""Very many tenants with one action each: when they are served, nothing of them is left."""

from __future__ import annotations

from tests.faults.crew import Crew
from tests.faults.doses import dose
from tests.faults.ledger import Ledger
from tests.faults.memory import until_expired, used_memory
from tests.faults.workshop import DOMAIN

TENANTS = dose(2_000, 100_000)
MORE_MB = 5
KEPT_PER_TIER = 200
"""Tags of tenants that virtual time has not passed yet: a few claims' worth."""


async def test_nothing_is_left_of_them(redis_url: str, crew: Crew) -> None:
    async with Ledger.opened(redis_url) as ledger:
        crew.hire(lease_s=15, result_ttl_s=2.0, dedupe_window_s=1.0)
        crew.hire(lease_s=15, result_ttl_s=2.0, dedupe_window_s=1.0)
        await ledger.send(200)
        before, keys = await at_rest(ledger), await ledger.redis.dbsize()
        async with ledger.following():
            await ledger.send(TENANTS, tenants=TENANTS)
        grown = await at_rest(ledger) - before
        assert await ledger.redis.dbsize() <= keys + 4
        await ledger.check(extra_runs=0, answered=False)
        tags = ledger.client.bus.keys.of("tags", DOMAIN, "open")
        assert await ledger.redis.zcard(tags) <= KEPT_PER_TIER
    assert grown < MORE_MB * 2**20, f"{grown / 2**20:.1f} MB more than before"


async def at_rest(ledger: Ledger) -> int:
    """Bytes when all has ended and what expires has expired."""
    await ledger.until_ended()
    await until_expired(ledger)
    return await used_memory(ledger)
