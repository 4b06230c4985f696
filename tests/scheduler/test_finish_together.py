"""Many finished in one call: what is alike is not taken apart anew, and it ends as one by one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from redis.asyncio import Redis

from scheduler import Finish, Outcome
from tests.scheduler.world import World, new, some

POLICY = """
default_tier = "free"
[tiers.enterprise]
priority = 1
[tiers.free]
priority = 2
guaranteed_share = 0.3
fair_by = "run_time"
"""
REPLIES = ("c1", "*", "", "c2")


async def _prepared(redis: Redis) -> tuple[World, list[Finish]]:
    """Two claims, lines of two tiers, second attempts, what is not owned any more, the same twice."""
    await redis.flushall()
    world = World(redis, POLICY)
    await world.worker("w1", "w2")
    for n in range(60):
        tenant, tier = f"t{n % 3}", "free" if n % 2 else "enterprise"
        await world.enqueue(new(f"x{n}", tenant, tier, reply_to=REPLIES[n // 15]))
    tried = (await world.claim(slots=12)).actions
    await world.finish(*tried, outcome=Outcome.RETRY, due_ms=0)
    actions = (await world.claim(slots=25)).actions
    world.clock.advance(1)
    await world.redis.hset(
        world.key("fairness"), "token", "11"
    )  # so that the one ends like the other: 2, then 12
    actions += (await world.claim(slots=25)).actions
    given = actions[5:8]
    await world.engine.release(world.domain, "w1", given)
    await world.claim("w2", 3)
    outcomes = [Outcome.DEAD if n % 11 == 10 else Outcome.COMPLETED for n in range(len(actions))]
    finishes = [
        Finish(action, outcome, response=b"r" * (n % 3), run_time_us=n, reason="no" * (outcome == "dead"))
        for n, (action, outcome) in enumerate(zip(actions, outcomes, strict=True))
    ]
    return world, [*finishes, finishes[0], finishes[9]]


async def _end(world: World, calls: list[list[Finish]]) -> tuple[list[bool], dict[str, Any]]:
    accepted: list[bool] = []
    for finishes in calls:
        accepted += await world.engine.finish(world.domain, "w1", finishes)
    picture = await world.snapshot()
    events = [line for entry in picture.pop("events") for line in entry["lines"].split("\n")]
    picture.pop("events_told")  # bytes, with what stands between two lines
    return accepted, picture | {"told": [line for line in events if line.startswith("outcome")]}


@pytest.mark.parametrize(
    "order", [lambda n: 0, lambda n: n % 3, lambda n: -n], ids=["as claimed", "mixed", "backwards"]
)
async def test_together_they_end_as_one_by_one(redis: Redis, order: Callable[[int], int]) -> None:
    ends = []
    for together in (True, False):
        world, finishes = await _prepared(redis)
        sorted_ = [finishes[n] for n in sorted(range(len(finishes)), key=order)]
        ends.append(await _end(world, [sorted_] if together else [[finish] for finish in sorted_]))
    assert ends[0] == ends[1]
    assert ends[0][0].count(True) == 47


UNREAD = [(999, 20, True), (1000, 20, False), (1000, 10, True)]


@pytest.mark.parametrize(("unread", "count", "inlined"), UNREAD)
async def test_who_does_not_read_what_it_is_told_is_told_ids_alone(
    world: World, unread: int, count: int, inlined: bool
) -> None:
    await world.enqueue(*some(count, reply_to="c1"))
    actions = (await world.claim(slots=count)).actions
    await world.redis.rpush(world.key("notify", "c1"), *["old"] * unread)
    await world.finish(*actions, response=b"r")
    told: Any = await world.redis.lrange(world.key("notify", "c1"), unread, -1)
    assert told == [f"{action.action_id}\n{'r' * inlined}".encode() for action in actions]
    assert await world.redis.lrange(world.key("response", "acme-0"), 0, -1) == [b"r"]
