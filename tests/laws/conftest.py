"""A queue under the shipping scripts, with the policy a test asks for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from redis.asyncio import Redis

from tests.laws.timeline import Shipping
from tests.scheduler.world import World

ONE_TIER = 'default_tier = "t"\n[tiers.t]\npriority = 1\n'

Prepare = Callable[..., Awaitable[World]]
Ship = Callable[..., Awaitable[Shipping]]


@pytest.fixture
def prepare(redis: Redis) -> Prepare:
    """``await prepare(policy)``: an empty domain under that policy, worker ``w1`` registered."""

    async def prepared(policy: str = ONE_TIER) -> World:
        await redis.flushdb()
        world = World(redis, policy)
        await world.worker("w1")
        await world.engine.publish_policy(world.domain)
        return world

    return prepared


@pytest.fixture
def ship(prepare: Prepare) -> Ship:
    """``await ship(policy)``: the same, to play loads on."""

    async def shipping(policy: str = ONE_TIER) -> Shipping:
        return Shipping(await prepare(policy))

    return shipping


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Virtual time costs real time: on a busy machine more than a test usually may take."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent) and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(180))
