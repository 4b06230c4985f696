"""claim on a quiet domain: its short way ends as the long one would, and is taken where it should be."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from redis.asyncio import Redis

from scheduler import Engine, Policy, ScriptError, overrides
from tests.laws.mutation import mutated
from tests.scheduler.world import DAY, MINUTE, NOW, World, new, some

NEVER_SHORT = ("if not version or not tiers_end", "if true or not tiers_end")
NEVER_LONG = ("local policy = cjson.decode(policy_json)", "error('the long way')")

Prepare = Callable[[World], Awaitable[None]]


async def nothing(world: World) -> None:
    """Nobody ever sent anything."""


async def lone(world: World) -> None:
    await world.enqueue(new("x1", reply_to="c1", unique_key="u"))


async def timely(world: World) -> None:
    await world.enqueue(new("x1", deadline_ms=NOW + 1))


async def limited(world: World) -> None:
    await world.enqueue(new("x1", tier="free"))


async def limited_again(world: World) -> None:
    for name in ("x1", "x2"):
        await world.enqueue(new(name, tier="free"))
        await world.finish(*(await world.claim()).actions)
        world.clock.advance(70)
    await world.enqueue(new("x3", tier="free"))


async def of_another_day(world: World) -> None:
    await limited_again(world)
    world.clock.advance(DAY)


async def credited(world: World) -> None:
    """What tiers had saved up is lost."""
    await world.enqueue(*some(8, "a"), *some(3, "b", "professional"))
    await world.finish(*(await world.claim(slots=11)).actions)
    for tier in ("professional", "free", "solo"):
        saved = {f"vt:{tier}": 3_000_000, f"credit:{tier}": 950_000}
        await world.redis.hset(world.key("fairness"), mapping=saved)


async def credited_lone(world: World) -> None:
    await credited(world)
    await world.enqueue(new("x1", "c", "professional"))


async def overridden(world: World, tenant: str) -> None:
    await overrides.set_override(world.engine, [world.domain], tenant, by="ana", weight=2)


async def before_another_is_due(world: World) -> None:
    await lone(world)
    await world.enqueue(new("x2", "late", due_ms=NOW + MINUTE))


async def beside_an_override(world: World) -> None:
    await limited(world)
    await overridden(world, "other")


async def beside_both(world: World) -> None:
    await before_another_is_due(world)
    await overridden(world, "other")


async def late_lease(world: World) -> None:
    await lone(world)
    world.clock.advance(10 * MINUTE)


USUAL = [nothing, lone, timely, limited, limited_again, of_another_day, credited, credited_lone, late_lease]
USUAL += [before_another_is_due, beside_an_override, beside_both]


async def over_its_limit(world: World) -> None:
    await world.enqueue(*some(4, tier="free"))
    await world.finish(*(await world.claim(slots=3)).actions)


async def just_over_its_limit(world: World) -> None:
    """Nobody has looked yet: it is not held."""
    await world.enqueue(*some(3, tier="free"))
    await world.finish(*(await world.claim()).actions)
    await world.enqueue(new("x1", tier="free"))


async def of_a_worker_that_knows_no_periods(world: World) -> None:
    """It began under a policy without calendar quotas."""
    await limited(world)
    policy = Policy.parse('default_tier = "free"\n[tiers.free]\npriority = 1')
    world.engine = Engine(world.redis, policy=policy, clock=world.clock)


async def too_late(world: World) -> None:
    await world.enqueue(new("x1", deadline_ms=NOW + 1))
    world.clock.advance(2)


async def two(world: World) -> None:
    await world.enqueue(*some(2))


async def two_tenants(world: World) -> None:
    await world.enqueue(new("x1", "a"), new("x2", "b", "free"))


async def with_a_stranger_behind(world: World) -> None:
    await lone(world)
    await world.redis.xadd(world.stream(), {"head": "v1 other 0 embedding.generate 1 - -", "data": "{}"})


async def behind_a_stranger(world: World) -> None:
    await world.redis.xadd(world.stream(), {"foo": "bar"})
    await world.redis.xgroup_create(world.stream(), "workers", "0")
    await lone(world)


async def beside_its_copy(world: World) -> None:
    """Somebody else added the action a second time: this worker has it already."""
    await lone(world)
    await world.claim()
    [entry] = await world.redis.xrange(world.stream())
    await world.redis.xadd(world.stream(), entry[1])
    await world.enqueue(new("x2"))
    await world.redis.xdel(world.stream(), (await world.redis.xrevrange(world.stream(), count=1))[0][0])


async def deleted(world: World) -> None:
    await lone(world)
    await world.redis.delete(world.stream())


async def replaced(world: World) -> None:
    await lone(world)
    await world.redis.delete(world.stream())
    await world.redis.set(world.stream(), "mine")


async def of_one_slot_at_a_time(world: World) -> None:
    await world.enqueue(new("x1", tier="solo"))


async def delayed(world: World) -> None:
    await world.enqueue(new("x1", due_ms=NOW + 5))


async def with_an_override(world: World) -> None:
    await lone(world)
    await overridden(world, "acme")


async def with_tags(world: World) -> None:
    await lone(world)
    await world.redis.zadd(world.key("tags", "enterprise"), {"gone": 9_000_000})


async def when_another_is_due(world: World) -> None:
    await before_another_is_due(world)
    world.clock.advance(MINUTE)


async def due(world: World) -> None:
    await delayed(world)
    world.clock.advance(5)


UNUSUAL = [
    over_its_limit,
    just_over_its_limit,
    of_a_worker_that_knows_no_periods,
    too_late,
    two,
    two_tenants,
    with_a_stranger_behind,
    behind_a_stranger,
    beside_its_copy,
    deleted,
    replaced,
    of_one_slot_at_a_time,
    delayed,
    with_an_override,
    with_tags,
    when_another_is_due,
    due,
]


async def _after(redis: Redis, prepare: Prepare, slots: int) -> tuple[Any, dict[str, Any]]:
    await redis.flushall()
    world = World(redis)
    await world.worker("w1", "w2")
    await prepare(world)
    claim = await world.claim(slots=slots)
    picture = await world.snapshot()
    picture.pop("events", None)  # with entry ids, the server's clock
    return claim, picture


@pytest.mark.parametrize("slots", [1, 2, 10])
@pytest.mark.parametrize("prepare", [*USUAL, *UNUSUAL])
async def test_ends_as_the_long_way_would(redis: Redis, prepare: Prepare, slots: int) -> None:
    found = await _after(redis, prepare, slots)
    with mutated("claim", *NEVER_SHORT):
        expected = await _after(redis, prepare, slots)
    assert found == expected


@pytest.mark.parametrize("prepare", USUAL)
async def test_the_usual_goes_the_short_way(redis: Redis, prepare: Prepare) -> None:
    await redis.flushall()
    world = World(redis)
    await world.worker("w1")
    await prepare(world)
    with mutated("claim", *NEVER_LONG):
        await world.claim()


@pytest.mark.parametrize("prepare", UNUSUAL)
async def test_the_unusual_goes_the_long_way(redis: Redis, prepare: Prepare) -> None:
    await redis.flushall()
    world = World(redis)
    await world.worker("w1")
    await prepare(world)
    with mutated("claim", *NEVER_LONG), pytest.raises(ScriptError, match="the long way"):
        await world.claim()
