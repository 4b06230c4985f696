"""Work-conserving law: a free slot and a startable action never wait for each other."""

from __future__ import annotations

import asyncio
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from scheduler import Claim, Policy
from tests.laws.conftest import Prepare
from tests.laws.mutation import mutated
from tests.scheduler.histories import STEP, some_policies
from tests.scheduler.test_oracle import NIGHTLY, History
from tests.scheduler.world import World, some

LIMITS = """
default_tier = "moving"
[tiers.moving]
priority = 1
limits = ["3/minute", "7/hour"]
[tiers.fixed]
priority = 2
limits = [{ rate = "3/minute", strategy = "fixed-window" }]
[tiers.sliding]
priority = 3
limits = [{ rate = "3/minute", strategy = "sliding-window-counter" }]
[tiers.daily]
priority = 4
limits = ["3/day"]
"""


class Watched(World):
    """Remembers what the last claim said."""

    said: Claim

    async def claim(self, worker: str = "w1", slots: int = 10) -> Claim:
        self.said = await super().claim(worker, slots)
        return self.said


class Conserving(History):
    """After every claim that took fewer than asked and left nothing, the oracle knows of nothing to start."""

    def __init__(self, redis: Redis, policies: list[Policy]) -> None:
        super().__init__(redis, policies)
        self.world.__class__ = Watched

    async def claim(self, worker: str, slots: int) -> None:
        await super().claim(worker, slots)
        assert isinstance(self.world, Watched)
        said = self.world.said
        if len(said.actions) < slots and not said.more and not said.lost:
            assert not deepcopy(self.oracle).claim(worker, slots).actions


def test_a_claim_that_takes_less_than_asked_leaves_nothing_startable(redis_url: str) -> None:
    async def run(policies: list[Policy], steps: list[tuple[Any, ...]]) -> None:
        redis = Redis.from_url(redis_url, protocol=2, socket_timeout=10, retry=Retry(NoBackoff(), 0))
        async with redis:
            await redis.flushdb()
            await Conserving(redis, policies).run(steps)

    @settings(max_examples=500 if NIGHTLY else 20, deadline=None, suppress_health_check=list(HealthCheck))
    @given(policies=some_policies(), steps=st.lists(STEP, min_size=25, max_size=25))
    def conserving(policies: list[Policy], steps: list[tuple[Any, ...]]) -> None:
        asyncio.run(run(policies, steps))

    conserving()


@pytest.mark.parametrize("tier", ["moving", "fixed", "sliding", "daily"])
async def test_a_held_tenant_starts_the_moment_its_limit_frees(prepare: Prepare, tier: str) -> None:
    """A claim says when to come again: not a millisecond too early, and not one too late."""
    world = await prepare(LIMITS)
    await world.enqueue(*some(9, "a", tier))
    started = 0
    while started < 9:
        await world.worker("w1")
        claim = await world.claim(slots=2)
        started += len(claim.actions)
        await world.finish(*claim.actions)
        if claim.actions or started == 9:
            continue
        assert claim.next_due_ms > world.now
        world.clock.set(claim.next_due_ms - 1)
        await world.worker("w1")
        assert not (await world.claim()).actions
        world.clock.set(claim.next_due_ms)
        await world.worker("w1")
        claim = await world.claim(slots=1)
        assert len(claim.actions) == 1
        started += 1
        await world.finish(*claim.actions)


async def test_what_makes_work_startable_wakes_a_sleeper(prepare: Prepare) -> None:
    """No polling: a release, as an enqueue, puts a message into a sleeping worker's mailbox."""
    world = await prepare()
    await world.worker("w2")
    await world.enqueue(*some(2, "a", "t"))
    first, _ = (await world.claim("w1", 2)).actions
    await world.claim("w2", 1)
    await world.engine.release(world.domain, "w1", [first])
    assert await world.mailbox("w2") == ["wake"]


@pytest.mark.parametrize("due", ["delayed", "held"])
async def test_what_a_worker_without_a_free_slot_knows_to_be_due_another_gets_to_know(
    prepare: Prepare, due: str
) -> None:
    """It may have none when the time comes, while the other has."""
    world = await prepare('default_tier = "t"\n[tiers.t]\npriority = 1\nlimits = ["1/second"]\n')
    await world.worker("w2")
    await world.enqueue(*some(1 if due == "delayed" else 2, "a", "t"))
    if due == "delayed":
        await world.enqueue(*some(1, "b", "t", due_ms=world.now + 500))
    await world.redis.zadd(world.key("sleepers"), {"w2": world.now})
    assert len((await world.claim("w1", 1)).actions) == 1
    assert await world.mailbox("w2") == ["wake"]
    assert (await world.claim("w2", 1)).next_due_ms > world.now


async def test_a_hold_that_never_ends_is_found_out(prepare: Prepare) -> None:
    with mutated("claim", "end_holds_due(now_ms, DUE_AT_ONCE)\n", "\n"), pytest.raises(AssertionError):
        await test_a_held_tenant_starts_the_moment_its_limit_frees(prepare, "fixed")
