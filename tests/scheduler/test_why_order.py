"""The place that `why` tells is the place at which an action starts, and the earliest start is the start."""

from __future__ import annotations

import random

import pytest
from redis.asyncio import Redis

from scheduler import Outcome, State
from scheduler.why import Why, why
from tests.scheduler.world import World, new, some

TIERS = """
default_tier = "free"
[tiers.enterprise]
priority = 1
[tiers.free]
priority = 2
guaranteed_share = {share}
"""

LIMITED = """
default_tier = "free"
[tiers.free]
priority = 1
limits = [{limits}]
"""


async def prepared(redis: Redis, policy: str) -> World:
    world = World(redis, policy)
    await world.worker("w1")
    await world.engine.publish_policy(world.domain)
    return world


async def told(world: World, action_ids: list[str]) -> dict[str, Why]:
    looked = {each: await why(world.engine, world.domain, each) for each in action_ids}
    return {each: found for each, found in looked.items() if found is not None}


async def drain(world: World, slots: int = 1) -> list[str]:
    """Every action in the order of their starts; each ends at once."""
    order: list[str] = []
    while True:
        claim = await world.claim(slots=slots)
        order += [action.action_id for action in claim.actions]
        await world.finish(*claim.actions)
        if not claim.actions:
            return order


@pytest.mark.parametrize("seed", range(8))
async def test_starts_ahead_is_the_order_of_the_starts(redis: Redis, seed: int) -> None:
    """By count, without limits and shares, one slot at a time: exact for every action, given back or not."""
    chance = random.Random(seed)
    world = await prepared(redis, TIERS.format(share=0.0))
    await world.worker("w2")
    tenants = [(f"t{n}", chance.choice(["enterprise", "free"])) for n in range(6)]
    sent = [action for name, tier in tenants for action in some(chance.randint(1, 7), name, tier)]
    chance.shuffle(sent)
    await world.enqueue(*sent)
    started = (await world.claim("w2", slots=5)).actions
    for action in started[:3]:  # some come back to the head of their lines, some run on
        await world.finish(action, worker="w2", outcome=Outcome.RETRY)
    waiting = [a.action_id for a in sent if a.action_id not in {b.action_id for b in started[3:]}]
    ahead = await told(world, waiting)
    order = await drain(world)
    assert {each: found.starts_ahead for each, found in ahead.items()} == {
        each: order.index(each) for each in waiting
    }
    by_tenant = {
        each: [other for other in order if other.split("-")[0] == each.split("-")[0]] for each in order
    }
    assert all(found.ahead == by_tenant[each].index(each) for each, found in ahead.items())


@pytest.mark.parametrize("share", [0.1, 0.3])
async def test_shares_are_taken_into_account(redis: Redis, share: float) -> None:
    """With a guaranteed share the estimate is off by a few starts, not by the better tier's backlog."""
    world = await prepared(redis, TIERS.format(share=share))
    await world.enqueue(*some(40, "e"), *some(10, "f", "free"), *some(10, "g", "free"))
    asked = [f"{tenant}-{n}" for tenant in "efg" for n in (0, 2, 9)]
    ahead = await told(world, asked)
    order = await drain(world)
    for each in asked:
        assert ahead[each].starts_ahead == pytest.approx(order.index(each), abs=1 / share)


@pytest.mark.parametrize(
    "limits",
    [
        '"3/minute"',
        '"3/minute", "7/day"',
        '{ rate = "4/minute", strategy = "fixed-window" }',
        '{ rate = "4/minute", strategy = "sliding-window-counter" }, "20/hour"',
    ],
)
@pytest.mark.parametrize("used", [0, 2])
async def test_the_earliest_start_is_the_start_when_slots_are_free(
    redis: Redis, limits: str, used: int
) -> None:
    world = await prepared(redis, LIMITED.format(limits=limits))
    await world.enqueue(*[new(f"a{n}", "acme", "free") for n in range(12)])
    if used:
        await world.claim(slots=used)
        world.clock.advance(7_000)
    names = [f"a{n}" for n in range(used, 12)]
    ahead = await told(world, names)
    starts: dict[str, int] = {}
    while len(starts) < len(names):
        claim = await world.claim(slots=50)
        starts.update({a.action_id: world.now for a in claim.actions if a.action_id in names})
        world.clock.advance(max(claim.next_due_ms - world.now, 1))
    assert {each: found.earliest_start_ms for each, found in ahead.items()} == starts
    assert all(found.earliest_exact for found in ahead.values())


async def test_far_beyond_it_is_a_lower_bound(redis: Redis) -> None:
    world = await prepared(redis, LIMITED.format(limits='"2/day"'))
    await world.enqueue(*some(20, "acme", "free"))
    last = await why(world.engine, world.domain, "acme-19")
    assert last is not None
    assert last.state is State.READY
    assert not last.earliest_exact
    assert "some time after" in last.sentence


@pytest.mark.parametrize(("action_id", "expected"), [("t340-0", 340), ("t340-1", 751), ("f-0", 800)])
async def test_more_tenants_than_are_looked_at_count_too(redis: Redis, action_id: str, expected: int) -> None:
    world = await prepared(redis, TIERS.format(share=0.0))
    await world.enqueue(*[a for n in range(400) for a in some(2, f"t{n:03}")], *some(1, "f", "free"))
    ahead = await told(world, [action_id])
    order = await drain(world, slots=1)
    assert ahead[action_id].starts_ahead == pytest.approx(order.index(action_id), rel=0.1)
    assert order.index(action_id) == pytest.approx(expected, rel=0.02)
