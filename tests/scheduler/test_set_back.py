"""The server's clock was ahead and has been set back: nothing waits until that time comes again."""

from __future__ import annotations

import json

import pytest
from redis.asyncio import Redis

from scheduler import Outcome
from scheduler.set_back import NOTICED_S, STEP_MS, SetBack
from scheduler.vigil import Vigil
from tests.scheduler.world import DAY, MINUTE, NOW, World, ids, some

HOUR = 60 * MINUTE
LIMITS = """
default_tier = "free"
[tiers.free]
priority = 1
limits = [{limit}]
"""
STRATEGIES = [
    '{ rate = "3/minute", strategy = "moving-window" }',
    '{ rate = "3/minute", strategy = "fixed-window" }',
    '{ rate = "3/minute", strategy = "sliding-window-counter" }',
    '"3/day"',
]


class Past:
    """A world whose clock was ahead, and who watches over that."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.steady_s = 0.0
        self.watch = SetBack(world.engine, world.domain, steady_s=lambda: self.steady_s)

    def pass_s(self, seconds: float) -> None:
        self.steady_s += seconds
        self.world.clock.advance(seconds * 1000)

    async def until_mended(self) -> None:
        await self.watch.look()
        self.pass_s(NOTICED_S)
        await self.watch.look()


async def past(redis: Redis, limit: str = STRATEGIES[0]) -> Past:
    world = World(redis, LIMITS.format(limit=limit))
    await world.worker("w1")
    await world.engine.publish_policy(world.domain)
    past = Past(world)
    await past.watch.look()
    return past


@pytest.mark.parametrize("limit", STRATEGIES)
async def test_tenants_at_their_limits_start_again(redis: Redis, limit: str) -> None:
    there = await past(redis, limit)
    world = there.world
    await world.enqueue(*some(12, tier="free"))
    world.clock.advance(2 * DAY)
    await there.watch.look()
    await world.finish(*(await world.claim()).actions)
    assert await world.claim_ids() == []
    world.clock.set(NOW + 5 * MINUTE)
    await world.worker("w1")
    await there.watch.look()
    there.pass_s(NOTICED_S - 1)
    await there.watch.look()
    assert await world.claim_ids() == []  # somebody may still be ahead
    there.pass_s(1)
    await there.watch.look()
    assert await world.claim_ids() == ["acme-3", "acme-4", "acme-5"]
    assert await world.claim_ids() == []


async def test_what_is_used_at_the_right_time_stays_used(redis: Redis) -> None:
    there = await past(redis, '"3/day"')
    world = there.world
    await world.enqueue(*some(9, tier="free"), *some(9, "other", "free"))
    await world.finish(*(await world.claim(slots=2)).actions)
    world.clock.advance(2 * DAY)
    await there.watch.look()
    world.clock.set(NOW + MINUTE)
    await world.worker("w1")
    before = (await world.snapshot())["usage"]
    await there.until_mended()
    assert (await world.snapshot())["usage"] == before
    assert len(await world.claim_ids()) == 4


async def test_a_clock_that_goes_back_a_little_changes_nothing(redis: Redis) -> None:
    there = await past(redis)
    world = there.world
    await world.enqueue(*some(9, tier="free"))
    await world.finish(*(await world.claim()).actions)
    assert await world.claim_ids() == []
    world.clock.advance(-STEP_MS)
    before = await world.snapshot()
    await there.until_mended()
    assert await world.snapshot() == before


async def test_what_a_worker_held_that_died_while_the_clock_was_ahead_starts_again(redis: Redis) -> None:
    there = await past(redis)
    world = there.world
    lease_ms = world.engine.lease_ms
    about = {"w1": lease_ms, "patient": HOUR}
    for worker, its_ms in about.items():
        await world.redis.hset(world.key("worker_info"), worker, json.dumps({"lease_ms": its_ms}))
    await world.redis.hset(world.key("worker_info"), "strange", "[]")
    await world.enqueue(*some(1, tier="free"))
    world.clock.advance(2 * HOUR)
    await there.watch.look()
    await world.worker("w1", "patient", "strange")
    assert await world.claim_ids() == ["acme-0"]
    world.clock.set(NOW + MINUTE)
    await there.until_mended()
    leases = dict(await redis.zrange(world.key("workers"), 0, -1, withscores=True))
    assert leases == {
        b"w1": world.now + lease_ms,
        b"patient": world.now + HOUR,
        b"strange": world.now + HOUR,
    }
    vigil = Vigil(world.engine, world.domain, steady_s=lambda: there.steady_s)
    await vigil.dead()
    there.pass_s(lease_ms / 1000)
    await vigil.dead()
    there.pass_s(10)
    [dead] = await vigil.dead()
    assert await world.engine.reclaim(world.domain, worker_id=dead.worker_id) == (1, 1)
    await world.worker("w2")
    assert await world.claim_ids("w2") == ["acme-0"]


async def test_what_handlers_said_by_that_clock_is_forgotten(redis: Redis) -> None:
    there = await past(redis)
    world = there.world
    await world.enqueue(*some(2, tier="free"))
    world.clock.advance(2 * HOUR)
    await there.watch.look()
    [first, _] = (await world.claim()).actions
    until_ms = world.now + MINUTE
    assert await world.finish(
        first, outcome=Outcome.SNOOZED, pressed="tenant", pressed_until_ms=until_ms
    ) == [True]
    assert await world.claim_ids() == []
    world.clock.set(NOW + MINUTE)
    await world.worker("w1")
    await there.until_mended()
    assert await world.claim_ids() == ["acme-0"]


async def test_of_many_tenants_each_call_looks_at_some(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scheduler.set_back._AT_ONCE", 10)
    there = await past(redis)
    world = there.world
    for number in range(600):  # more than a small hash holds, which a scan tells at once
        await world.enqueue(*some(4, f"t{number}", "free"))
    world.clock.advance(2 * HOUR)
    await there.watch.look()
    while actions := (await world.claim(slots=500)).actions:
        await world.finish(*actions)
    world.clock.set(NOW + MINUTE)
    await world.worker("w1")
    await there.until_mended()
    started = ids((await world.claim(slots=500)).actions) + ids((await world.claim(slots=500)).actions)
    assert len(started) == 600


async def test_who_notices_late_finds_it_mended(redis: Redis) -> None:
    there = await past(redis)
    another = SetBack(there.world.engine, there.world.domain, steady_s=lambda: there.steady_s)
    there.world.clock.advance(2 * HOUR)
    await there.watch.look()
    there.world.clock.set(NOW + MINUTE)
    await another.look()
    await there.until_mended()
    assert int(await redis.get(there.world.key("latest_time"))) == there.world.now
    await there.world.worker("w1")
    before = await there.world.snapshot()
    there.pass_s(NOTICED_S)
    await another.look()
    assert await there.world.snapshot() == before
