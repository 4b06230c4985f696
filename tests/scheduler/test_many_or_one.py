"""Many actions enqueued at once, in calls of a hundred, leave what the same ones leave one by one."""

from __future__ import annotations

import random

import pytest
from redis.asyncio import Redis

from scheduler import NewAction, Registry
from scheduler.intake import MAX_ACTIONS, MAX_TOGETHER
from tests.scheduler.world import MINUTE, World, snapshot

TIERS = """
default_tier = "free"
[tiers.gold]
priority = 1
[tiers.refusing]
priority = 2
over_limit = "refuse"
limits = ["7/minute", "30/day"]
[tiers.bounded]
priority = 3
max_backlog = 20
[tiers.free]
priority = 4
limits = ["3/minute"]
"""
NAMES = ["gold", "refusing", "bounded", "free", "", "~refusing", "none", "~none"]


def some_actions(dice: random.Random, count: int, now: int) -> list[NewAction]:
    """Ids come twice now and then, unique keys and lines often."""
    return [
        NewAction(
            f"x{dice.randrange(count * 4 // 3)}",
            dice.choice(["embedding.a", "embedding.b"]),
            dice.choice(["a", "a", "b", "c", "drained", "low"]),
            dice.choice(NAMES),
            b"x" * 9,
            dice.choice([0, 0, 0, now, now + 500, now + 2 * MINUTE]),
            dice.choice([0, 0, 0, now + 400, now + 10 * MINUTE]),
            dice.choice(["", "*", "c1"]),
            dice.choice(["", "", "", "u1", f"u{dice.randrange(9)}"]),
        )
        for _ in range(count)
    ]


@pytest.mark.parametrize("seed", range(4))
async def test_many_at_once_are_as_many_one_by_one(redis: Redis, seed: int) -> None:
    dice = random.Random(seed)
    worlds = [World(redis, TIERS, domain=name) for name in ("many", "one")]
    for world in worlds:
        await world.worker("w1")
        await world.engine.publish_policy(world.domain)
    registry = Registry(worlds[0].engine)  # in all domains
    await registry.drain("drained", by="me")
    await registry.register("low", "free", by="me")
    told: set[str] = set()
    for count in (1, 3, MAX_ACTIONS, 2 * MAX_ACTIONS + 50, MAX_TOGETHER + 50 if seed == 0 else 2):
        actions = some_actions(dice, count, worlds[0].now)
        many = await worlds[0].enqueue(*actions)
        one = [await worlds[1].engine.enqueue_one(worlds[1].domain, action) for action in actions]
        assert many == one
        told.update(reply.refusal.reason if reply.refusal else str(reply.accepted) for reply in many)
        pictures = [await snapshot(redis, world.domain) for world in worlds]
        for picture in pictures:
            picture.pop("mailbox:w1", None)  # who sleeps is woken once per call
        assert pictures[0] == pictures[1]
        for world in worlds:
            held = await world.claim(slots=count // 2)
            await world.finish(*held.actions[::2])
            world.clock.advance(700)
    assert len(told) >= 6, told  # accepted, known, and most reasons to refuse
