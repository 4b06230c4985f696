"""claim: order between tiers and between tenants, limits, holds."""

from __future__ import annotations

from collections import Counter

import pytest
from redis.asyncio import Redis

from tests.scheduler.world import DAY, MINUTE, NOW, World, changes, ids, new, some

TWO_TIERS = """
default_tier = "free"
[tiers.enterprise]
priority = 1
[tiers.free]
priority = 2
guaranteed_share = {share}
"""


async def prepared(redis: Redis, policy: str) -> World:
    world = World(redis, policy)
    await world.worker("w1")
    return world


async def test_tenants_take_turns(world: World) -> None:
    await world.enqueue(*some(4, "a"), *some(4, "b"), *some(4, "c"))
    taken = [await world.claim_ids(slots=1) for _ in range(6)]
    assert taken == [["a-0"], ["b-0"], ["c-0"], ["a-1"], ["b-1"], ["c-1"]]


async def test_one_claim_shares_its_slots(world: World) -> None:
    await world.enqueue(*some(9, "a"), *some(2, "b"), *some(9, "c"))
    assert Counter(a.tenant_id for a in (await world.claim(slots=10)).actions) == {"a": 4, "b": 2, "c": 4}


async def test_best_priority_first(redis: Redis) -> None:
    world = await prepared(redis, TWO_TIERS.format(share=0.0))
    await world.enqueue(*some(3, "f", "free"), *some(3, "e", "enterprise"))
    assert await world.claim_ids(slots=4) == ["e-0", "e-1", "e-2", "f-0"]


@pytest.mark.parametrize("slots", [1, 7, 100])
async def test_guaranteed_share(redis: Redis, slots: int) -> None:
    world = await prepared(redis, TWO_TIERS.format(share=0.2))
    await world.enqueue(*some(200, "f", "free"), *some(200, "e", "enterprise"))
    taken: list[str] = []
    while len(taken) < 100:
        taken += [a.tier for a in (await world.claim(slots=slots)).actions]
    assert Counter(taken[:100])["free"] == pytest.approx(20, abs=slots / 5 + 1)


async def test_share_of_a_tier_without_work_is_not_saved_up(redis: Redis) -> None:
    world = await prepared(redis, TWO_TIERS.format(share=0.5))
    await world.enqueue(*some(50, "e", "enterprise"))
    await world.claim(slots=20)
    await world.enqueue(*some(50, "f", "free"))
    tiers = [a.tier for a in (await world.claim(slots=4)).actions]
    assert Counter(tiers) == {"enterprise": 2, "free": 2}


async def test_a_limit_holds_and_costs_the_others_nothing(world: World) -> None:
    await world.enqueue(*some(5, "a", "free"), new("b-0", "b", "free"))
    before = await world.snapshot()
    claim = await world.claim()
    assert sorted(ids(claim.actions)) == ["a-0", "a-1", "a-2", "b-0"]
    assert claim.next_due_ms == NOW + MINUTE + 1
    after = changes(before, await world.snapshot())
    assert after["held"] == {"a:free": NOW + MINUTE + 1}
    assert after["held_why"] == {"a:free": "3/minute"}
    assert after["waiting"] == {"a:free": "2"}
    assert after["ready:free"] is None
    assert after["counters"]["free:held"] == "1"
    assert set(after["usage"]) == {"a:free", "b:free"}
    [event] = after["events"]
    assert event["lines"] == f"hold {NOW} a:free {NOW + MINUTE + 1} 3/minute"


async def test_a_hold_ends_when_its_limit_frees(world: World) -> None:
    await world.enqueue(*some(5, "a", "free"))
    await world.claim()
    world.clock.advance(MINUTE)
    assert await world.claim_ids() == []
    world.clock.advance(1)
    claim = await world.claim()
    assert (ids(claim.actions), claim.next_due_ms) == (["a-3", "a-4"], 0)


async def test_the_limit_that_frees_last_is_the_one_that_binds(world: World) -> None:
    await world.enqueue(*some(9, "a", "free"))
    await world.claim()
    world.clock.advance(MINUTE + 1)
    claim = await world.claim()
    assert ids(claim.actions) == ["a-3", "a-4"]
    midnight = (NOW // DAY + 1) * DAY
    assert claim.next_due_ms == midnight
    assert (await world.snapshot())["held_why"] == {"a:free": "5/day"}
    world.clock.set(midnight)
    assert len(await world.claim_ids()) == 3


async def test_enqueue_to_a_held_tenant_keeps_it_held(world: World) -> None:
    await world.enqueue(*some(4, "a", "free"))
    await world.claim()
    await world.enqueue(new("late", "a", "free"))
    picture = await world.snapshot()
    assert picture["waiting"] == {"a:free": "2"}
    assert "ready:free" not in picture


async def test_a_concurrency_hold_ends_at_finish(world: World) -> None:
    await world.enqueue(*some(3, "a", "solo"))
    claim = await world.claim()
    assert (ids(claim.actions), claim.next_due_ms) == (["a-0"], 0)
    picture = await world.snapshot()
    assert picture["held"] == {"a:solo": float("inf")}
    assert picture["held_why"] == {"a:solo": "concurrency 1"}
    world.clock.advance(DAY)
    assert await world.claim_ids() == []
    await world.finish(*claim.actions)
    assert (await world.snapshot())["ready:solo"]["a"] > 0
    assert await world.claim_ids() == ["a-1"]


async def test_a_concurrency_slot_that_frees_wakes_a_sleeper(world: World) -> None:
    """The worker that finishes may be leaving: it need not be the one that takes the next."""
    await world.worker("w2")
    await world.enqueue(*some(2, "a", "solo"))
    claim = await world.claim(slots=1)
    await world.claim("w2")
    await world.finish(*claim.actions)
    assert await world.mailbox("w2") == ["wake"]


async def test_domain_limit(redis: Redis) -> None:
    policy = 'default_tier="t"\n[tiers.t]\npriority=1\n[domains]\nembedding=["3/minute"]'
    world = await prepared(redis, policy)
    await world.enqueue(*some(4, "a", "t"), *some(4, "b", "t"))
    claim = await world.claim()
    assert (len(claim.actions), claim.more) == (3, True)
    claim = await world.claim()
    assert claim == ([], NOW + MINUTE + 1, False, False, 0)
    assert (await world.snapshot())["sleepers"] == {"w1": NOW}
    world.clock.advance(MINUTE + 1)
    assert len(await world.claim_ids()) == 3


async def test_a_claim_cut_short_by_the_domains_limit_wakes_nobody(redis: Redis) -> None:
    policy = 'default_tier="t"\n[tiers.t]\npriority=1\n[domains]\nembedding=["3/minute"]'
    world = await prepared(redis, policy)
    await world.worker("w2")
    await world.enqueue(*some(5, "a", "t"))
    await world.redis.zadd(world.key("sleepers"), {"w2": NOW})
    await world.claim()
    assert await world.mailbox("w2") == []


async def test_usage_is_per_tenant(world: World) -> None:
    await world.enqueue(*some(3, "a", "free"), *some(3, "b", "free"))
    assert len(await world.claim_ids()) == 6


async def test_expired_actions_spend_nothing_of_the_domains_limit(redis: Redis) -> None:
    policy = 'default_tier="t"\n[tiers.t]\npriority=1\n[domains]\nembedding=["2/minute"]'
    world = await prepared(redis, policy)
    await world.enqueue(*some(2, "old", "t", deadline_ms=NOW), *some(3, "a", "t"))
    taken: list[str] = []
    while (claim := await world.claim(slots=2)).actions:
        taken += ids(claim.actions)
    assert sorted(taken) == ["a-0", "a-1", "old-0", "old-1"]
