"""A domain with one registered worker, and its engine."""

from __future__ import annotations

import pytest
from redis.asyncio import Redis

from scheduler.dead_letters import DeadLetters
from tests.scheduler.world import World


@pytest.fixture
async def world(redis: Redis) -> World:
    world = World(redis)
    await world.worker("w1")
    await world.engine.publish_policy(world.domain)
    return world


@pytest.fixture
def letters(world: World) -> DeadLetters:
    return DeadLetters(world.engine)
