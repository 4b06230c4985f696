"""finish of one action: its short way ends as the long one would, and is taken where it should be."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from redis.asyncio import Redis

from scheduler import Finish, Outcome, ScriptError
from tests.laws.mutation import mutated
from tests.scheduler.world import TIERS, World, new, some

NEVER_SHORT = ("if count ~= 1 then break end", "do break end")
NEVER_LONG = ("local RUN_TIME_IN_EVENT =", "error('the long way')\nlocal RUN_TIME_IN_EVENT =")
BY_RUN_TIME = TIERS.replace("[tiers.professional]", '[tiers.professional]\nfair_by = "run_time"')
ANNOUNCED_AT_MOST = 10_000

Prepare = Callable[[World], Awaitable[list[Finish]]]


async def lone(world: World, tier: str = "enterprise", response: bytes = b"r", **more: Any) -> list[Finish]:
    await world.enqueue(new("x1", tier=tier, **more))
    return _ended(await world.claim(), response)


def _ended(claim: Any, response: bytes = b"r", outcome: Outcome = Outcome.COMPLETED) -> list[Finish]:
    return [Finish(action, outcome, response=response, run_time_us=7) for action in claim.actions]


async def asked_for(world: World) -> list[Finish]:
    return await lone(world, reply_to="c1")


async def stored_only(world: World) -> list[Finish]:
    return await lone(world, reply_to="*")


async def without_response(world: World) -> list[Finish]:
    return await lone(world, response=b"", reply_to="c1")


async def large(world: World) -> list[Finish]:
    return await lone(world, response=b"r" * 10_000, reply_to="c1")


async def limited(world: World) -> list[Finish]:
    return await lone(world, "free", reply_to="c1")


async def after_another(world: World) -> list[Finish]:
    """What remembers outcomes is there already."""
    await world.enqueue(new("x0"))
    await world.finish(*(await world.claim()).actions)
    return await asked_for(world)


async def beside_others(world: World) -> list[Finish]:
    await world.enqueue(*some(3))
    await world.claim(slots=1)
    return _ended(await world.claim(slots=1))


async def to_an_absent_client(world: World) -> list[Finish]:
    await world.redis.rpush(world.keys.notify(world.domain, "c1"), *["old"] * ANNOUNCED_AT_MOST)
    return await asked_for(world)


async def without_its_entry(world: World) -> list[Finish]:
    ended = await lone(world)
    await world.redis.xtrim(world.stream(), maxlen=0)
    return ended


async def without_its_stream(world: World) -> list[Finish]:
    ended = await lone(world)
    await world.redis.delete(world.stream())
    return ended


async def under_a_strangers_key(world: World) -> list[Finish]:
    ended = await without_its_stream(world)
    await world.redis.hset(world.stream(), "theirs", "1")
    return ended


USUAL = [
    lone,
    asked_for,
    stored_only,
    without_response,
    large,
    limited,
    after_another,
    beside_others,
    to_an_absent_client,
    without_its_entry,
    without_its_stream,
    under_a_strangers_key,
]


async def of_two(world: World) -> list[Finish]:
    await world.enqueue(*some(2))
    return _ended(await world.claim())


async def dead(world: World) -> list[Finish]:
    await world.enqueue(new("x1"))
    return _ended(await world.claim(), outcome=Outcome.DEAD)


async def with_a_unique_key(world: World) -> list[Finish]:
    return await lone(world, unique_key="u")


async def with_a_callback(world: World) -> list[Finish]:
    [ended] = await lone(world)
    queue = world.keys.callback(world.domain, "query", "done")
    return [ended._replace(callback_queue=queue, callback=b"{}")]


async def at_its_second_attempt(world: World) -> list[Finish]:
    [ended] = await lone(world)
    await world.finish(ended.action, outcome=Outcome.RETRY, reason="no", due_ms=world.now)
    return _ended(await world.claim())


async def by_run_time(world: World) -> list[Finish]:
    return await lone(world, "professional")


async def somebody_elses(world: World) -> list[Finish]:
    [ended] = await lone(world)
    await world.engine.release(world.domain, "w1", [ended.action])
    await world.claim("w2")
    return [ended]


async def of_an_older_claim(world: World) -> list[Finish]:
    """The worker has it again, by a later claim."""
    [ended] = await lone(world)
    await world.engine.release(world.domain, "w1", [ended.action])
    await world.claim()
    return [ended]


async def asked_to_cancel(world: World) -> list[Finish]:
    ended = await lone(world)
    await world.cancel("x1")
    return ended


async def with_children(world: World) -> list[Finish]:
    ended = await lone(world)
    await world.redis.sadd(world.key("parents"), "x1")
    await world.redis.sadd(world.key("children", "x1"), "child")
    return ended


async def of_a_tenant_that_is_held(world: World) -> list[Finish]:
    await world.enqueue(*some(2, tier="solo"))
    return _ended(await world.claim())


UNUSUAL = [
    of_two,
    dead,
    with_a_unique_key,
    with_a_callback,
    at_its_second_attempt,
    by_run_time,
    somebody_elses,
    of_an_older_claim,
    asked_to_cancel,
    with_children,
    of_a_tenant_that_is_held,
]


async def _prepared(redis: Redis, prepare: Prepare) -> tuple[World, list[Finish]]:
    await redis.flushall()
    world = World(redis, BY_RUN_TIME)
    await world.worker("w1", "w2")
    return world, await prepare(world)


async def _after(redis: Redis, prepare: Prepare) -> tuple[Any, ...]:
    world, finishes = await _prepared(redis, prepare)
    world.clock.advance(5)
    accepted = await world.engine.finish(world.domain, "w1", finishes)
    picture = await world.snapshot()
    expiring = {key for key in await redis.keys() if await redis.pttl(key) > 0}
    return accepted, picture, expiring


@pytest.mark.parametrize("prepare", [*USUAL, *UNUSUAL])
async def test_ends_as_the_long_way_would(redis: Redis, prepare: Prepare) -> None:
    found = await _after(redis, prepare)
    with mutated("finish", *NEVER_SHORT):
        expected = await _after(redis, prepare)
    assert found == expected


@pytest.mark.parametrize("prepare", USUAL)
async def test_the_usual_goes_the_short_way(redis: Redis, prepare: Prepare) -> None:
    world, finishes = await _prepared(redis, prepare)
    with mutated("finish", *NEVER_LONG):
        assert await world.engine.finish(world.domain, "w1", finishes) == [True]


@pytest.mark.parametrize("prepare", UNUSUAL)
async def test_the_unusual_goes_the_long_way(redis: Redis, prepare: Prepare) -> None:
    world, finishes = await _prepared(redis, prepare)
    with mutated("finish", *NEVER_LONG), pytest.raises(ScriptError, match="the long way"):
        await world.engine.finish(world.domain, "w1", finishes)


async def test_an_absent_client_is_told_the_last_of_it(redis: Redis) -> None:
    world, finishes = await _prepared(redis, to_an_absent_client)
    await world.engine.finish(world.domain, "w1", finishes)
    told: Any = await redis.execute_command("LRANGE", world.keys.notify(world.domain, "c1"), 0, -1)  # type: ignore[no-untyped-call]
    assert (len(told), told[-1]) == (ANNOUNCED_AT_MOST, b"x1\nr")
