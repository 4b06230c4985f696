"""The scheduling laws as numbers, on a real server."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from redis.asyncio import Redis

from scheduler import Claimed
from scheduler.batches import MAX_ITEMS
from scheduler.turns import quantum
from tests.scheduler.world import DAY, MINUTE, World, new, some

SHARES = """
default_tier = "free"
[tiers.enterprise]
priority = 1
[tiers.professional]
priority = 2
guaranteed_share = {0}
[tiers.advance]
priority = 3
guaranteed_share = {1}
[tiers.free]
priority = 4
guaranteed_share = {2}
"""
ONE_TIER = 'default_tier = "t"\n[tiers.t]\npriority = 1\n'


async def prepared(redis: Redis, policy: str) -> World:
    world = World(redis, policy)
    await world.worker("w1")
    await world.engine.publish_policy(world.domain)
    return world


async def take(world: World, count: int, slots: int) -> list[Claimed]:
    """The next ``count`` starts, ``slots`` at a time, each finished before the next claim."""
    taken: list[Claimed] = []
    while len(taken) < count:
        claim = await world.claim(slots=min(slots, count - len(taken)))
        assert claim.actions
        await world.finish(*claim.actions)
        taken += claim.actions
    return taken


@pytest.mark.parametrize("shares", [(0.10, 0.05, 0.05), (0.3, 0.3, 0.3), (0.0, 1 / 3, 0.01)])
@pytest.mark.parametrize("slots", [1, 8])
async def test_tier_law_each_share_within_one_percent_of_a_thousand(
    redis: Redis, shares: tuple[float, ...], slots: int
) -> None:
    world = await prepared(redis, SHARES.format(*shares))
    tiers = world.policy.names()
    await world.enqueue(*(action for tier in tiers for action in some(1_600, f"of-{tier}", tier)))
    taken = [action.tier for action in await take(world, 1_500, slots)]
    for start in range(0, 501, 100):
        counts = Counter(taken[start : start + 1_000])
        for tier, share in zip(tiers[1:], shares, strict=True):
            assert abs(counts[tier] - 1_000 * share) <= 10, (start, tier)


async def test_strict_priority_is_a_share_of_nothing(redis: Redis) -> None:
    world = await prepared(redis, SHARES.format(0, 0, 0))
    tiers = world.policy.names()
    await world.enqueue(*(action for tier in reversed(tiers) for action in some(50, f"of-{tier}", tier)))
    assert [action.tier for action in await take(world, 200, 7)] == [
        tier for tier in tiers for _ in range(50)
    ]


@pytest.mark.parametrize("slots", [1, 7, 64])
async def test_tenant_law_equal_weights_differ_by_one_quantum(redis: Redis, slots: int) -> None:
    world = await prepared(redis, ONE_TIER)
    tenants = [f"t{n}" for n in range(5)]
    await world.enqueue(*(action for tenant in tenants for action in some(200, tenant, "t")))
    counts: Counter[str] = Counter(dict.fromkeys(tenants, 0))
    for _ in range(800 // slots):
        counts.update(action.tenant_id for action in await take(world, slots, slots))
        assert max(counts.values()) - min(counts.values()) <= quantum(slots)
    assert quantum(1) == quantum(11) == 1


async def test_no_credit_for_many_new_names(redis: Redis) -> None:
    """One customer mints a tenant name per action. Names pay as tenants do, but nobody gets past its turn."""
    world = await prepared(redis, ONE_TIER)
    await world.enqueue(*some(300, "honest", "t"))
    await take(world, 100, 1)
    honest = 0
    for n in range(100):
        await world.enqueue(new(f"minted-{n}", f"minted{n}", "t"))
        honest += sum(action.tenant_id == "honest" for action in await take(world, 2, 2))
    assert honest >= 99


async def test_no_credit_for_having_been_idle(redis: Redis) -> None:
    world = await prepared(redis, ONE_TIER)
    await world.enqueue(*some(600, "busy", "t"))
    await take(world, 400, 8)
    await world.enqueue(*some(200, "idle", "t"))
    counts = Counter(action.tenant_id for action in await take(world, 100, 8))
    assert abs(counts["idle"] - counts["busy"]) <= 1


async def test_heavy_then_idle_still_pays(redis: Redis) -> None:
    """A tenant that was served ahead of the others leaves and comes back: its tag has not been forgotten."""
    world = await prepared(redis, ONE_TIER)
    await world.enqueue(*some(40, "heavy", "t"), *some(300, "steady", "t"))
    await take(world, 81, 81)  # heavy's 40 and 41 of steady's
    for n in range(60):
        await world.enqueue(new(f"again-{n}", "heavy", "t"))
        await take(world, 2, 1)
    picture = await world.snapshot()
    assert int(picture["waiting"]["steady:t"]) == 300 - 41 - 60


async def test_order_law(redis: Redis) -> None:
    world = await prepared(redis, ONE_TIER)
    await world.enqueue(*(action for tenant in "abc" for action in some(60, tenant, "t")))
    taken = await take(world, 180, 11)
    for tenant in "abc":
        mine = [action.action_id for action in taken if action.tenant_id == tenant]
        assert mine == [f"{tenant}-{n}" for n in range(60)]


async def calls(redis: Redis) -> Counter[str]:
    """How often each command has run."""
    stats: dict[str, Any] = await redis.info("commandstats")
    return Counter({name: values["calls"] for name, values in stats.items()})


async def cost_of_a_claim(world: World, slots: int) -> Counter[str]:
    before = await calls(world.redis)
    claim = await world.claim(slots=slots)
    assert len(claim.actions) == slots
    spent = await calls(world.redis) - before
    spent.pop("cmdstat_info", None)
    return spent


@pytest.mark.parametrize("kind", ["backlogged", "held", "drained"])
async def test_idle_law_the_cost_of_a_claim_does_not_depend_on_who_else_is_there(
    world: World, kind: str
) -> None:
    """Counted in commands that the script runs, and the script's work besides is bounded by its slots."""
    await world.enqueue(*some(40, "served", "professional"))
    await world.claim(slots=4)
    alone = await cost_of_a_claim(world, 4)
    others = [f"other{n}" for n in range(1_500)]
    per_tenant = 5 if kind == "held" else 1
    for tenant in others:
        await world.enqueue(*some(per_tenant, tenant, "free"))
    if kind != "backlogged":
        while (claim := await world.claim(slots=MAX_ITEMS)).actions:
            await world.finish(*claim.actions)
        await world.enqueue(
            *[a._replace(action_id=f"more-{n}") for n, a in enumerate(some(12, "served", "professional"))]
        )
        await world.claim(slots=4)
    if kind == "held":
        assert len((await world.snapshot())["held"]) == 1_500
    with_others = await cost_of_a_claim(world, 4)
    assert sum(with_others.values()) <= sum(alone.values()) + 6, (with_others, alone)


async def test_idle_law_memory_comes_back(world: World) -> None:
    """5,000 tenants with limits and quotas, served and drained: only what is kept for good is left."""
    await world.enqueue(new("first", "warm", "free"))
    await world.finish(*(await world.claim()).actions)
    tenants = [f"tenant{n}" for n in range(5_000)]
    await world.enqueue(*[new(f"x{n}", tenant, "free", reply_to="*") for n, tenant in enumerate(tenants)])
    assert len(await world.redis.keys()) > 5_000
    served = 0
    while (claim := await world.claim(slots=MAX_ITEMS)).actions:
        await world.finish(*claim.actions)
        served += len(claim.actions)
    assert served == 5_000
    picture = await world.snapshot()
    assert len(picture["usage"]) == 5_001
    world.clock.advance(DAY + MINUTE)
    await world.worker("w1")
    for _ in range(12):
        await world.engine.promote(world.domain)
    left = {name for name in await world.snapshot() if not name.startswith(("done:", "mailbox:"))}
    events = {"events", "events_told", "events_marks"}
    assert left == {"policy", "fairness", "counters", "sleepers", "workers", "registry"} | events
    assert set((await world.snapshot())["fairness"]) <= {
        "token",
        *(f"{field}:{tier}" for field in ("vt", "credit") for tier in world.policy.names()),
    }
    assert all([await world.redis.pttl(key) > 0 for key in await world.redis.keys("*:done:*")])
