"""What each tier is promised and what it got."""

from __future__ import annotations

from redis.asyncio import Redis

from scheduler import Finish, Outcome
from scheduler.shares import tier_standings
from tests.scheduler.world import MINUTE, World, some


async def test_promised_and_given(world: World) -> None:
    await world.enqueue(*some(30, "e"), *some(30, "p", "professional"), *some(2, "s", "solo"))
    for _ in range(20):
        world.clock.advance(100)
        [claimed] = (await world.claim(slots=1)).actions
        await world.engine.finish(world.domain, "w1", [Finish(claimed, Outcome.COMPLETED, run_time_us=1_000)])
    before = await world.snapshot()
    standings = await tier_standings(world.engine, world.domain)
    assert await world.snapshot() == before
    assert [(each.tier, each.rank) for each in standings] == [
        ("enterprise", 1),
        ("professional", 2),
        ("free", 3),
        ("solo", 4),
    ]
    enterprise, professional, free, solo = standings
    assert (enterprise.share_guaranteed, professional.share_guaranteed) == (0.0, 0.1)
    assert (enterprise.share_given, professional.share_given) == (0.9, 0.1)
    assert (enterprise.starts, free.share_given) == (20, 0.0)
    assert (enterprise.ready, professional.ready, solo.ready) == (12, 28, 2)
    assert (enterprise.tenants_ready, free.tenants_ready) == (1, 0)
    assert (free.limits, solo.max_concurrency) == (["3/minute", "5/day"], 1)
    assert enterprise.queue_ms_p50 is not None
    assert 0 < enterprise.queue_ms_p50 <= (enterprise.queue_ms_p99 or 0) <= 2_000
    assert free.queue_ms_p50 is None

    world.clock.advance(MINUTE)
    later = await tier_standings(world.engine, world.domain)
    assert {(each.share_given, each.starts, each.queue_ms_p99) for each in later} == {(None, 0, None)}


async def test_before_any_worker_there_is_nothing(redis: Redis) -> None:
    world = World(redis)
    assert await tier_standings(world.engine, world.domain) == []
