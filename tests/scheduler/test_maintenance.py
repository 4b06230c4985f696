"""Background roles: they tick, survive errors of Redis, and end when told."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from scheduler import Outcome, Retention
from scheduler.errors import ScriptError
from scheduler.maintenance import Loop, Maintenance, end_task
from tests.scheduler.world import NOW, World, new, some


class Ticking(Loop):
    name = "ticking"
    after_error_s = 0.0

    def __init__(self, *raises: Exception) -> None:
        super().__init__()
        self.raises = list(raises)
        self.ticks: asyncio.Queue[int] = asyncio.Queue()
        self.delay_s = 600.0

    async def tick(self) -> float:
        if self.raises:
            raise self.raises.pop(0)
        self.ticks.put_nowait(1)
        return self.delay_s

    async def next(self) -> None:
        await asyncio.wait_for(self.ticks.get(), 5)


async def test_it_ticks_when_nudged_and_after_its_delay() -> None:
    loop = Ticking()
    loop.start()
    await loop.next()
    loop.delay_s = 0.0
    await asyncio.sleep(0)
    loop.nudge()
    for _ in range(3):
        await loop.next()
    await loop.stop()


async def test_starting_and_stopping_twice_is_fine() -> None:
    loop = Ticking()
    await loop.stop()
    loop.start()
    loop.start()
    await loop.next()
    assert loop.ticks.empty()
    await loop.stop()
    await loop.stop()
    loop.start()
    await loop.next()
    await loop.stop()


@pytest.mark.parametrize(
    "error", [RedisConnectionError("gone"), OSError("gone"), ScriptError("promote", "WRONGTYPE")], ids=repr
)
async def test_errors_of_redis_are_said_and_the_next_tick_comes(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    loop = Ticking(error)
    loop.start()
    await loop.next()
    await loop.stop()
    assert f"ticking: {error}" in caplog.text


async def test_any_other_error_is_told_and_the_next_tick_comes(caplog: pytest.LogCaptureFixture) -> None:
    """Others rely on what the role does: one that ends unheard is worse than an error that repeats."""
    loop = Ticking(ValueError("not foreseen"))
    loop.start()
    await loop.next()
    await loop.stop()
    assert "ValueError: not foreseen" in caplog.text


async def test_a_task_that_swallows_a_cancellation_is_told_again() -> None:
    async def deaf() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await asyncio.Event().wait()

    task = asyncio.create_task(deaf())
    await asyncio.sleep(0)
    await asyncio.wait_for(end_task(task), 5)
    assert task.cancelled()


class Steady:
    """A clock that never jumps, by hand."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def maintenance(world: World, **options: Any) -> Maintenance:
    return Maintenance(world.engine, [world.domain], **options)


async def test_a_round_takes_back_what_dead_workers_held(world: World) -> None:
    await world.worker("w2")
    await world.enqueue(*some(3))
    await world.claim("w1", 2)
    await world.claim("w2", 1)
    world.clock.advance(world.engine.lease_ms + 1)
    steady = Steady()
    rounds = maintenance(world, steady_s=steady)
    steady.now_s += await rounds.tick()
    assert "owned:w1" in await world.snapshot()  # its heartbeat may only be late
    next_s = 0.0
    while "workers" in await world.snapshot():
        steady.now_s += next_s
        next_s = await rounds.tick()
    assert steady.now_s <= 9.1
    picture = await world.snapshot()
    assert picture.keys().isdisjoint({"owned:w1", "owned:w2"})
    assert picture["waiting"] == {"acme:enterprise": "3"}


async def test_a_round_promotes_what_is_due_and_comes_back_for_the_next(world: World) -> None:
    await world.enqueue(new("x1", due_ms=NOW + 1_000), new("x2", due_ms=NOW + 3_000))
    rounds = maintenance(world)
    assert 0.9 <= await rounds.tick() <= 1.0
    world.clock.advance(1_000)
    assert 1.9 <= await rounds.tick() <= 2.0
    assert (await world.snapshot())["waiting"] == {"acme:enterprise": "1"}


async def test_a_round_promotes_more_than_fits_into_one_call(world: World) -> None:
    await world.enqueue(*(new(f"x{n}", due_ms=NOW + 1_000) for n in range(1_200)))
    world.clock.advance(1_000)
    await maintenance(world).tick()
    assert (await world.snapshot())["waiting"] == {"acme:enterprise": "1200"}


async def test_idle_rounds_are_spread(world: World) -> None:
    delays = [await maintenance(world, every_s=5).tick() for _ in range(20)]
    assert 4 <= min(delays) < max(delays) <= 5


async def test_idle_rounds_ask_little_and_go_on_with_what_stands(world: World) -> None:
    steady, asked = Steady(), []

    async def go_on(domain: str) -> bool:
        asked.append(domain)
        return len(asked) == 1

    async def rest(seconds: float) -> float:
        """Commands per second of so long a time."""
        await world.redis.config_resetstat()
        until_s = steady.now_s + seconds
        while steady.now_s < until_s:
            delay_s = await rounds.tick()
            steady.now_s += delay_s
            world.clock.advance(delay_s * 1_000)
        stats = await world.redis.info("commandstats")
        stats.pop("cmdstat_config|resetstat")
        return sum(each["calls"] for each in stats.values()) / seconds

    assert await world.engine.retire(world.domain, "w1")
    rounds = maintenance(world, steady_s=steady, go_on=go_on)
    await rest(60)
    assert await rest(600) < 0.4
    assert not asked
    await world.redis.zadd(world.key("cancelled_parents"), {"x1": world.now})
    await rest(45)
    assert len(asked) >= 2  # at once again, for there was more


async def test_it_prunes_dead_letters(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scheduler.maintenance._PRUNE_EVERY_S", 0)
    await world.enqueue(*some(3))
    await world.finish(*(await world.claim()).actions, outcome=Outcome.DEAD)
    world.engine.retention = Retention(letters=2, letters_ms=1_000)
    maintenance = Maintenance(world.engine, [world.domain])
    await maintenance.tick()
    assert await world.redis.xlen(world.key("dead", "acme")) == 2
    world.clock.advance(1_001)
    await maintenance.tick()
    assert not await world.redis.exists(world.key("dead", "acme"), world.key("dead_tenants"))


async def test_rounds_mend_what_a_clock_that_was_ahead_has_written(world: World) -> None:
    steady = Steady()
    rounds = maintenance(world, steady_s=steady)

    async def for_minutes(minutes: int) -> None:
        for _ in range(20 * minutes):
            steady.now_s += 3
            world.clock.advance(3_000)
            await world.engine.extend(world.domain, "w1")
            await rounds.tick()

    world.clock.advance(7_200_000)
    await for_minutes(1)
    await world.enqueue(*some(400, "busy", "professional"))
    await world.finish(*(await world.claim(slots=400)).actions)
    assert await world.claim_ids() == []
    world.clock.set(NOW)
    await for_minutes(1)
    assert await world.claim_ids() == []
    await for_minutes(3)
    assert len(await world.claim_ids(slots=400)) == 200


async def test_a_domain_whose_time_cannot_be_read_keeps_no_other_from_its_turn(world: World) -> None:
    steady = Steady()
    rounds = Maintenance(world.engine, [world.domain, "other"], steady_s=steady)
    await world.redis.hset(world.key("latest_time"), "foreign", "1")
    errors = 0
    for _ in range(4):
        steady.now_s += 61
        try:
            await rounds.tick()
        except ResponseError:
            errors += 1
    assert errors == 4
    assert await world.redis.exists(world.keys.of("latest_time", "other"))
