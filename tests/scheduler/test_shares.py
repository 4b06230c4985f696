"""What each tier is promised and what it got."""

from __future__ import annotations

from redis.asyncio import Redis

from scheduler import Finish, Outcome, pauses
from scheduler.shares import tier_standings
from tests.scheduler.world import MINUTE, NOW, World, some


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


async def test_a_tier_over_its_own_limit_is_held_and_says_until_when(redis: Redis) -> None:
    policy = 'default_tier="b"\n[tiers.a]\npriority=1\n[tiers.b]\npriority=2\ntier_limits=["2/minute"]\n'
    world = World(redis, policy)
    await world.worker("w1")
    await world.engine.publish_policy(world.domain)
    await world.enqueue(*some(3, "x", "b"), *some(1, "y", "b"))
    assert len(await world.claim_ids()) == 2
    first, second = await tier_standings(world.engine, world.domain)
    assert (first.held_why, first.held_until_ms) == ("", None)
    assert (second.ready, second.held, second.tenants_ready, second.tenants_held) == (0, 2, 0, 1)
    assert second.held_why == "limit 2/minute of tier b is used up"
    assert second.held_until_ms == NOW + MINUTE + 1

    await pauses.pause(world.engine, [world.domain], "domain", by="ana", why="index rebuild")
    stopped = await tier_standings(world.engine, world.domain)
    assert [each.paused for each in stopped] == ["by ana: index rebuild"] * 2


async def test_before_any_worker_there_is_nothing(redis: Redis) -> None:
    world = World(redis)
    assert await tier_standings(world.engine, world.domain) == []
