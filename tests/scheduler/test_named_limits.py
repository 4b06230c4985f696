"""Limits that action types share, and those of a whole tier."""

from __future__ import annotations

import pytest
from redis.asyncio import Redis

from scheduler import NewAction, Outcome
from tests.scheduler.world import MINUTE, NOW, World, ids, new, some

POLICY = """
default_tier = "free"
[tiers.gold]
priority = 1
[tiers.free]
priority = 2
limits = ["5/minute"]
[tiers.shared]
priority = 3
tier_limits = ["4/minute"]
[limits.openai]
rate = "3/minute"
action_types = ["embedding.ask", "embedding.tell"]
[limits.tells]
rate = "1/minute"
strategy = "fixed-window"
action_types = ["embedding.tell"]
"""


@pytest.fixture
async def world(redis: Redis) -> World:
    world = World(redis, POLICY)
    await world.worker("w1")
    await world.engine.publish_policy(world.domain)
    return world


def asks(
    count: int, tenant: str = "acme", tier: str = "gold", kind: str = "embedding.ask"
) -> list[NewAction]:
    actions = some(count, tenant, tier)
    return [one._replace(action_id=f"{kind[10:]}-{one.action_id}", action_type=kind) for one in actions]


async def test_it_is_shared_by_types_and_tenants(world: World) -> None:
    await world.enqueue(*asks(2, "a"), *asks(2, "b", "free", "embedding.tell"), *some(2, "c", "gold"))
    claim = await world.claim(slots=9)
    assert sorted(ids(claim.actions)) == ["ask-a-0", "ask-a-1", "c-0", "c-1", "tell-b-0"]
    picture = await world.snapshot()
    assert picture["held_why"] == {"b:free": "limit openai"}
    assert picture["held"] == {"b:free": NOW + MINUTE + 1}  # a ms after the other that refuses it
    assert claim.next_due_ms == NOW + MINUTE + 1


async def test_what_is_refused_goes_back_with_all_behind_it_and_spends_nothing(world: World) -> None:
    await world.enqueue(*asks(5, tier="free"), *some(3, tier="free"))
    assert await world.claim_ids(slots=8) == ["ask-acme-0", "ask-acme-1", "ask-acme-2"]
    picture = await world.snapshot()
    assert picture["returned_count"] == {"acme:free": "2"}
    assert picture["waiting"] == {"acme:free": "5"}
    assert picture["held_why"] == {"acme:free": "limit openai"}
    assert picture["stream acme:free"]["parked"] == {"ask-acme-3": 0, "ask-acme-4": 0}
    world.clock.advance(MINUTE + 1)
    claim = await world.claim(slots=8)  # five a minute of its own, three of them spent a minute ago
    assert [(a.action_id, a.attempt) for a in claim.actions] == [
        ("ask-acme-3", 1),
        ("ask-acme-4", 1),
        ("acme-0", 1),
        ("acme-1", 1),
        ("acme-2", 1),
    ]


async def test_when_another_action_is_next_the_line_is_looked_at_again(world: World) -> None:
    await world.enqueue(*asks(4), new("x1", tier="gold"), new("x2", tier="gold"))
    first = (await world.claim(slots=9)).actions
    assert len(first) == 3
    await world.redis.delete(world.key("mailbox", "w1"))
    await world.cancel("ask-acme-3")
    assert await world.mailbox("w1") == ["wake"]
    assert await world.claim_ids() == ["x1", "x2"]


async def test_a_retry_before_what_is_held_starts(world: World) -> None:
    await world.enqueue(new("x1", tier="gold"), *asks(4))
    [x1, *_] = (await world.claim(slots=9)).actions
    assert "acme:gold" in (await world.snapshot())["held"]
    await world.finish(x1, outcome=Outcome.RETRY)
    assert await world.claim_ids() == ["x1"]


async def test_expired_ones_are_answered_and_use_nothing(world: World) -> None:
    late = [one._replace(deadline_ms=NOW + 1) for one in asks(3)]
    await world.enqueue(*late, *asks(3, "other"))
    world.clock.advance(1)
    claim = await world.claim(slots=9)
    assert sum(action.expired for action in claim.actions) == 3
    assert sorted(a.action_id for a in claim.actions if not a.expired) == [f"ask-other-{n}" for n in range(3)]


async def test_a_whole_tier_shares_its_limit_and_the_others_go_on(world: World) -> None:
    await world.enqueue(*some(4, "a", "shared"), *some(4, "b", "shared"))
    assert len(await world.claim_ids(slots=3)) == 3
    await world.enqueue(*some(2, "c", "gold"))
    claim = await world.claim(slots=9)
    assert sorted(action.tier for action in claim.actions) == ["gold", "gold", "shared"]
    claim = await world.claim()
    assert (claim.actions, claim.more, claim.next_due_ms) == ([], False, NOW + MINUTE + 1)
    assert "held" not in await world.snapshot()
    world.clock.advance(MINUTE + 1)
    assert len(await world.claim_ids()) == 4


async def test_its_usage_is_forgotten(world: World) -> None:
    await world.enqueue(*asks(1), *some(1, "b", "shared"))
    await world.claim()
    assert set((await world.snapshot())["usage"]) == {"@openai", "*:shared"}
    world.clock.advance(MINUTE + 1)
    await world.engine.promote(world.domain)
    assert "usage" not in await world.snapshot()
