"""Fair by run time: worker seconds instead of starts, and what a charge is corrected by."""

from __future__ import annotations

import heapq
from collections import Counter

import pytest
from redis.asyncio import Redis

from scheduler import Claimed, Outcome
from tests.scheduler.world import World, new, some

POLICY = """
default_tier = "t"
[tiers.t]
priority = 1
fair_by = "{0}"
"""
LONG_US, SHORT_US = 2_000_000, 100_000
SLOTS = 10


async def prepared(redis: Redis, fair_by: str) -> World:
    world = World(redis, POLICY.format(fair_by))
    await world.worker("w1")
    return world


async def worker_seconds(world: World, seconds: int) -> tuple[Counter[str], Counter[str]]:
    """Run two tenants, both always with work, on ten slots for so long: run time (µs) and starts of each."""
    run_time = {"long": LONG_US, "short": SHORT_US}
    for tenant in run_time:
        await world.enqueue(*some(4_000, tenant, "t"))
    used: Counter[str] = Counter()
    starts: Counter[str] = Counter()
    running: list[tuple[int, str, Claimed]] = []
    until = world.now + seconds * 1_000
    while world.now < until:
        for action in (await world.claim(slots=SLOTS - len(running))).actions:
            took = run_time[action.tenant_id]
            heapq.heappush(running, (world.now + took // 1_000, action.action_id, action))
            used[action.tenant_id] += took
            starts[action.tenant_id] += 1
        world.clock.set(running[0][0])
        while running and running[0][0] <= world.now:
            action = heapq.heappop(running)[2]
            await world.finish(action, run_time_us=run_time[action.tenant_id])
    return used, starts


async def test_tenants_get_equal_worker_seconds(redis: Redis) -> None:
    used, starts = await worker_seconds(await prepared(redis, "run_time"), 60)
    assert min(starts.values()) > 100
    assert abs(used["long"] - used["short"]) <= 0.05 * used["long"] + SLOTS * LONG_US, used


async def test_by_count_the_same_load_is_unfair(redis: Redis) -> None:
    used, starts = await worker_seconds(await prepared(redis, "count"), 60)
    assert abs(starts["long"] - starts["short"]) <= SLOTS
    assert used["long"] > 10 * used["short"]


async def test_the_charge_is_the_average_of_the_tenant_and_type(redis: Redis) -> None:
    world = await prepared(redis, "run_time")
    await world.enqueue(*some(3, "a", "t"))
    first, *_ = (await world.claim(slots=1)).actions
    owned = (await world.snapshot())["owned:w1"]
    assert owned[first.action_id].split()[-3:] == ["100000", "1", "embedding.generate"]
    await world.finish(first, run_time_us=40_000)
    second, *_ = (await world.claim(slots=1)).actions
    assert (await world.snapshot())["owned:w1"][second.action_id].split()[-3] == "40000"
    await world.finish(second, run_time_us=80_000)
    third, *_ = (await world.claim(slots=1)).actions
    assert (await world.snapshot())["owned:w1"][third.action_id].split()[-3] == "50000"


async def test_a_new_tenant_is_charged_what_the_tier_takes(redis: Redis) -> None:
    world = await prepared(redis, "run_time")
    await world.enqueue(new("a-0", "a", "t"))
    await world.finish(*(await world.claim(slots=1)).actions, run_time_us=7_000)
    await world.enqueue(new("b-0", "b", "t"))
    (action,) = (await world.claim(slots=1)).actions
    assert (await world.snapshot())["owned:w1"][action.action_id].split()[-3] == "7000"


async def test_the_tag_is_corrected_at_the_end_and_refunded_by_a_release(redis: Redis) -> None:
    world = await prepared(redis, "run_time")
    await world.enqueue(*some(5, "a", "t"))
    one, two = (await world.claim(slots=2)).actions
    assert (await world.snapshot())["ready:t"] == {"a": 200_000}
    await world.finish(one, run_time_us=350_000)
    assert (await world.snapshot())["ready:t"] == {"a": 450_000}
    await world.engine.release(world.domain, "w1", [two])
    assert (await world.snapshot())["ready:t"] == {"a": 350_000}


@pytest.mark.parametrize("outcome", [Outcome.EXPIRED, Outcome.CANCELLED])
async def test_what_was_not_run_to_an_end_teaches_nothing(redis: Redis, outcome: Outcome) -> None:
    world = await prepared(redis, "run_time")
    await world.enqueue(*some(2, "a", "t"))
    action, *_ = (await world.claim(slots=1)).actions
    await world.finish(action, outcome=outcome, run_time_us=3)
    assert "usage" not in await world.snapshot()
