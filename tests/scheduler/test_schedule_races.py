"""Processes that race for the same due times, killed in between: each due time becomes one action."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest
from redis.asyncio import Redis

from scheduler import Engine, Keys, ManualClock, Policy, fired
from scheduler.backfill import backfill
from scheduler.schedule_errors import ScheduleError
from scheduler.schedule_store import ScheduleStore
from scheduler.schedules import ID_MARK, Misfire, Overlap, Schedule, action_id_of
from tests.scheduler.world import DOMAIN, MINUTE, NOW, TIERS, World

ROOT = Path(__file__).parents[2]
SCHEDULES, DUE_TIMES, TASKS = 4, 180, 16

RACER = f"""
import asyncio, sys
import redis.asyncio
from scheduler import Engine, ManualClock, Policy, schedule_store
from tests.scheduler.world import DOMAIN, TIERS

schedule_store.AT_ONCE = 3

async def race(store):
    while (await store.fire_due(DOMAIN)).next_due_ms <= int(sys.argv[2]):
        pass

async def main():
    client = redis.asyncio.Redis.from_url(sys.argv[1], protocol=2)
    engine = Engine(client, policy=Policy.parse(TIERS), clock=ManualClock(int(sys.argv[2])))
    store = schedule_store.ScheduleStore(engine)
    await asyncio.gather(*(race(store) for _ in range({TASKS})))
    await client.aclose()

asyncio.run(main())
"""


@pytest.mark.faults
async def test_processes_killed_in_between(redis: Redis, redis_url: str) -> None:
    clock = ManualClock(NOW)
    store = ScheduleStore(Engine(redis, policy=Policy.parse(TIERS), clock=clock))
    for n in range(SCHEDULES):
        made = Schedule(
            f"s{n}", "embedding.x", "acme", ID_MARK, tier="enterprise", every_ms=1_000, misfire=Misfire.ALL
        )
        await store.create(DOMAIN, made, by="ana")
    end = NOW + DUE_TIMES * 1_000
    stream = Keys().stream(DOMAIN, "acme", "enterprise")

    async def racer() -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable, "-c", RACER, redis_url, str(end), cwd=ROOT, env={**os.environ, "PYTHONPATH": "."}
        )

    racers = [await racer() for _ in range(4)]
    killed = 0
    for share in (1, 2, 3):
        while await redis.xlen(stream) < share * SCHEDULES * DUE_TIMES // 4:  # noqa: ASYNC110
            await asyncio.sleep(0)
        victim = racers[share % len(racers)]
        if victim.returncode is None:
            victim.kill()
            killed += await victim.wait() == -9
            racers[share % len(racers)] = await racer()
    assert killed
    async with asyncio.timeout(50):
        assert [await each.wait() for each in racers] == [0] * len(racers)
    expected = {
        action_id_of(DOMAIN, f"s{n}", NOW + m * 1_000).encode()
        for n in range(SCHEDULES)
        for m in range(1, DUE_TIMES + 1)
    }
    entries = await redis.xrange(stream)
    assert len(entries) == len(expected)
    assert {fields[b"data"] for _, fields in entries} == expected


async def test_a_backfill_goes_on_where_it_was_cut_off(world: World) -> None:
    store = ScheduleStore(world.engine)
    made = Schedule("s1", "embedding.x", "acme", ID_MARK, tier="enterprise", every_ms=MINUTE)
    await store.create(world.domain, made, by="ana")
    start, end = NOW - NOW % MINUTE - 100 * MINUTE, NOW - NOW % MINUTE
    paces: list[float] = []

    class CutOffError(Exception):
        """Something happened."""

    async def cut_off(seconds: float) -> None:
        paces.append(seconds)
        if len(paces) == 3:
            raise CutOffError

    with pytest.raises(CutOffError):
        await backfill(world.engine, world.domain, "s1", start, end, per_second=80, sleep=cut_off)
    assert paces == [0.25, 0.25, 0.25]  # 20 due times at a time
    assert await world.redis.xlen(world.stream()) == 60
    # what ran long ago is not known as a duplicate any more: how far it came is what counts
    for action in (await world.claim(slots=60)).actions:
        await world.finish(action)
    world.clock.advance(3 * world.engine.duplicate_window_ms)
    done = await backfill(world.engine, world.domain, "s1", start, end)
    assert done == (100, 100, 40)
    both = await asyncio.gather(
        *(backfill(world.engine, world.domain, "s1", start - MINUTE, end) for _ in range(3))
    )
    assert await backfill(world.engine, world.domain, "s1", start, end) == (100, 100, 0)
    assert sum(each.accepted for each in both) == 1  # the others were fired, the first 60 long ago


async def test_a_backfill_leaves_out_what_was_fired_live_long_ago(world: World) -> None:
    store = ScheduleStore(world.engine)
    made = Schedule("s1", "embedding.x", "acme", ID_MARK, tier="enterprise", every_ms=MINUTE)
    await store.create(world.domain, made, by="ana")
    start = NOW - NOW % MINUTE + MINUTE
    for minute in (0, 1, 4):  # in between nobody looked, and a misfire is made up once
        world.clock.set(start + minute * MINUTE)
        await store.fire_due(world.domain)
    fired = [action_id_of(world.domain, "s1", start + minute * MINUTE) for minute in (0, 1, 4)]
    live = (await world.claim(slots=10)).actions
    assert [action.action_id for action in live] == fired
    for action in live:
        await world.finish(action)
    world.clock.advance(5 * world.engine.duplicate_window_ms)
    done = await backfill(world.engine, world.domain, "s1", start, start + 5 * MINUTE)
    assert done == (5, 5, 2)
    missed = [action_id_of(world.domain, "s1", start + minute * MINUTE) for minute in (2, 3)]
    assert await world.claim_ids(slots=10) == missed
    assert await world.redis.hstrlen(world.key("schedules_history"), "s1") == 5 * 6
    await store.delete(world.domain, "s1", by="ana")
    assert not await world.redis.exists(world.key("schedules_history"))


async def test_of_what_was_fired_a_bounded_number_is_known(world: World) -> None:
    made = Schedule("s1", "embedding.x", "acme", ID_MARK, tier="enterprise", every_ms=MINUTE)
    await ScheduleStore(world.engine).create(world.domain, made, by="ana")
    end = NOW - NOW % MINUTE
    done = await backfill(world.engine, world.domain, "s1", end - 1_100 * MINUTE, end, per_second=100_000)
    assert done.accepted == 1_100
    assert await fired.known(world.engine, world.domain, "s1") == {end - n * MINUTE for n in range(1, 1_001)}


async def test_a_backfill_without_overlap_waits_for_what_is_alive(world: World) -> None:
    """One after the other; none is left out, and cut off while it waits it goes on with the same one."""
    store = ScheduleStore(world.engine)
    made = Schedule(
        "s1", "embedding.x", "acme", ID_MARK, tier="enterprise", every_ms=MINUTE, overlap=Overlap.SKIP
    )
    await store.create(world.domain, made, by="ana")
    start = NOW - NOW % MINUTE - 3 * MINUTE
    ran: list[str] = []
    waited = 0

    async def then_one_ends(_: float) -> None:
        nonlocal waited
        waited += 1
        assert int(await world.redis.hlen(world.key("actions"))) == 1
        if waited % 3 == 0:
            [action] = (await world.claim()).actions
            ran.append(action.action_id)
            await world.finish(action)

    for _ in range(2):
        done = await backfill(
            world.engine, world.domain, "s1", start, start + 3 * MINUTE, sleep=then_one_ends
        )
    assert done == (3, 3, 0)
    ran += await world.claim_ids()
    assert ran == [action_id_of(world.domain, "s1", start + n * MINUTE) for n in range(3)]
    assert waited == 6


@pytest.mark.parametrize(
    ("start", "end", "rate", "said"),
    [
        (NOW - MINUTE, NOW + 1, 1.0, "not in the future"),
        (NOW, NOW, 1.0, "end after it begins"),
        (NOW - 2, NOW - 1, 1.0, "no due times"),
        (NOW - 100_001 * MINUTE, NOW, 1.0, "more than 100000"),
        (NOW - 10 * MINUTE, NOW, 0.0, "a rate must be"),
    ],
)
async def test_backfills_that_cannot_be(world: World, start: int, end: int, rate: float, said: str) -> None:
    made = Schedule("s1", "embedding.x", "acme", ID_MARK, tier="enterprise", every_ms=MINUTE)
    await ScheduleStore(world.engine).create(world.domain, made, by="ana")
    with pytest.raises(ScheduleError, match=said):
        await backfill(world.engine, world.domain, "s1", start, end, per_second=rate)
    assert not await world.redis.exists(world.key("backfills"))
