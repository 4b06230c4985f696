"""Random histories with moves in them: after every step all invariants hold, and in the end all has run."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from scheduler import Claimed, Outcome, Registry
from tests.scheduler.picture import Picture
from tests.scheduler.world import MINUTE, World, new

NIGHTLY = os.environ.get("NOOBLE_TEST_NIGHTLY") == "1"

POLICY = """
default_tier = "low"
[tiers.high]
priority = 1
limits = ["5/minute"]
[tiers.low]
priority = 2
max_concurrency = 3
fair_by = "run_time"
"""
TENANT = st.sampled_from(["a", "a", "b"])
NUMBER = st.integers(0, 20)
STEP = st.one_of(
    st.tuples(st.just("enqueue"), TENANT, st.integers(1, 7), st.sampled_from([0, 0, 300, MINUTE])),
    st.tuples(st.just("claim"), st.integers(1, 6)),
    st.tuples(st.just("finish"), NUMBER, st.sampled_from([*Outcome]), st.sampled_from([0, 300])),
    st.tuples(st.just("release"), NUMBER),
    st.tuples(st.just("cancel"), NUMBER),
    st.tuples(st.just("advance"), st.sampled_from([1, 300, 5_000, MINUTE])),
    st.tuples(st.just("move"), TENANT, st.sampled_from(["high", "low"]), st.sampled_from([1, 3, 500])),
)


class History:
    """What is alive, and what a worker holds."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.owned: list[Claimed] = []
        self.alive: list[str] = []
        self.count = 0

    async def enqueue(self, tenant: str, count: int, due_in: int) -> None:
        names = [f"x{self.count + n:03}" for n in range(count)]
        self.count += count
        due_ms = self.world.now + due_in if due_in else 0
        said = await self.world.enqueue(*[new(name, tenant, "", due_ms=due_ms) for name in names])
        assert all(each.accepted for each in said)
        self.alive += names

    async def claim(self, slots: int) -> None:
        await self.world.worker("w1")
        self.owned += (await self.world.claim(slots=slots)).actions

    async def finish(self, number: int, outcome: Outcome, delay: int) -> None:
        if self.owned:
            action = self.owned.pop(number % len(self.owned))
            said = await self.world.finish(action, outcome=outcome, due_ms=self.world.now + delay)
            assert said == [True]
            if outcome not in (Outcome.RETRY, Outcome.SNOOZED):
                self.alive.remove(action.action_id)

    async def release(self, number: int) -> None:
        if self.owned:
            action = self.owned.pop(number % len(self.owned))
            assert await self.world.engine.release(self.world.domain, "w1", [action]) == 1

    async def cancel(self, number: int) -> None:
        if self.alive:
            name = self.alive[number % len(self.alive)]
            if await self.world.cancel(name) == ["cancelled"]:
                self.alive.remove(name)

    async def advance(self, ms: int) -> None:
        self.world.clock.advance(ms)

    async def move(self, tenant: str, tier: str, most: int) -> None:
        await Registry(self.world.engine).move(tenant, tier, by="me", most=most)
        other = self.world.key("waiting")
        left = {"high": "low", "low": "high"}[tier]
        assert not await self.world.redis.hexists(other, f"{tenant}:{left}")

    async def drain(self) -> None:
        for _ in range(500):
            while self.owned:
                await self.finish(0, Outcome.COMPLETED, 0)
            await self.claim(20)
            if not self.owned:
                if not self.alive:
                    break
                await self.advance(MINUTE)
        assert not self.alive
        left = await self.world.unfinished()
        assert not {name for name in left if not name.startswith(("resp:", "tags:", "mailbox:"))}, left


async def _run(url: str, steps: list[tuple[Any, ...]]) -> None:
    redis = Redis.from_url(url, protocol=2, socket_timeout=10, retry=Retry(NoBackoff(), 0))
    async with redis:
        await redis.flushdb()
        world = World(redis, POLICY)
        await world.worker("w1")
        await world.engine.publish_policy(world.domain)
        history = History(world)
        for verb, *arguments in steps:
            await getattr(history, verb)(*arguments)
            Picture(await world.snapshot()).check_laws()
        await history.drain()


@pytest.mark.timeout(7200 if NIGHTLY else 120)
def test_moves_among_everything_else(redis_url: str) -> None:
    @settings(
        max_examples=1_000 if NIGHTLY else 40,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(steps=st.lists(STEP, min_size=5, max_size=30))
    def holds(steps: list[tuple[Any, ...]]) -> None:
        asyncio.run(_run(redis_url, steps))

    holds()
