"""Schedules in the engine: each due time becomes one action, whoever races, whatever is edited meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.registry import Registry
from scheduler.schedule_errors import ScheduleConflictError, ScheduleError, UnknownScheduleError
from scheduler.schedule_store import ScheduleStore
from scheduler.schedules import DUE_MARK, ID_MARK, Misfire, Overlap, Schedule, action_id_of, plan
from scheduler.ticker import Ticker
from tests.scheduler.world import DAY, MINUTE, NOW, World

HOUR = 60 * MINUTE
START = NOW - NOW % MINUTE


def every(seconds: int = 60, schedule_id: str = "s1", **more: Any) -> Schedule:
    fields: dict[str, Any] = {
        "payload": b'{"id":"' + ID_MARK + b'","at":"' + DUE_MARK + b'"}',
        "tier": "enterprise",
        "every_ms": seconds * 1000,
        **more,
    }
    return Schedule(schedule_id, "embedding.generate", "acme", **fields)


@pytest.fixture
async def store(world: World) -> ScheduleStore:
    world.clock.set(START)
    return ScheduleStore(world.engine)


async def put(store: ScheduleStore, world: World, schedule: Schedule) -> Schedule:
    return await store.create(world.domain, schedule, by="ana", why="a test")


async def fired(world: World) -> list[bytes]:
    """Ids of all actions in line."""
    return list((await world.redis.hgetall(world.key("actions"))).keys())


def ids_of(world: World, *due: int, schedule_id: str = "s1") -> set[bytes]:
    return {action_id_of(world.domain, schedule_id, each).encode() for each in due}


async def test_a_due_time_becomes_an_action(world: World, store: ScheduleStore) -> None:
    await put(store, world, every())
    assert await store.fire_due(world.domain) == (0, START + MINUTE)
    world.clock.set(START + MINUTE)
    assert await store.fire_due(world.domain) == (1, START + 2 * MINUTE)
    assert await store.fire_due(world.domain) == (0, START + 2 * MINUTE)
    [claimed] = (await world.claim()).actions
    assert claimed.action_id == action_id_of(world.domain, "s1", START + MINUTE)
    at = datetime.fromtimestamp((START + MINUTE) / 1000, UTC).isoformat()
    assert claimed.payload == f'{{"id":"{claimed.action_id}","at":"{at}"}}'.encode()
    assert (claimed.tenant_id, claimed.tier) == ("acme", "enterprise")
    found = await store.get(world.domain, "s1")
    assert found.last == (START + MINUTE, START + MINUTE, claimed.action_id, True)


@pytest.mark.parametrize(
    ("misfire", "expected"),
    [
        (Misfire.SKIP, {120}),
        (Misfire.ONCE, {120}),
        (Misfire.ALL, set(range(1, 121))),
    ],
)
async def test_a_system_that_was_down(
    world: World, store: ScheduleStore, misfire: Misfire, expected: set[int]
) -> None:
    await put(store, world, every(misfire=misfire, grace_ms=30_000))
    world.clock.set(START + 120 * MINUTE)
    while (await store.fire_due(world.domain)).next_due_ms <= world.now:
        pass
    assert set(await fired(world)) == ids_of(world, *(START + n * MINUTE for n in expected))


async def test_skip_means_nothing_when_all_are_too_late(world: World, store: ScheduleStore) -> None:
    await put(store, world, every(3600, misfire=Misfire.SKIP))
    due = (await store.get(world.domain, "s1")).next_due_ms
    assert due is not None
    world.clock.set(due + 61_000)
    assert await store.fire_due(world.domain) == (0, due + HOUR)
    assert await fired(world) == []


async def test_what_is_caught_up_is_bounded_per_tick(world: World, store: ScheduleStore) -> None:
    await put(store, world, every(1, misfire=Misfire.ALL))
    world.clock.advance(250_000)
    assert [(await store.fire_due(world.domain)).fired for _ in range(4)] == [100, 100, 50, 0]


async def test_racing_tickers(world: World, store: ScheduleStore) -> None:
    for n in range(20):
        await put(store, world, every(60, f"s{n}", misfire=Misfire.ALL))
    world.clock.advance(30 * MINUTE)

    async def race() -> int:
        mine, fired_here = ScheduleStore(world.engine), 0
        while True:
            ticked = await mine.fire_due(world.domain)
            fired_here += ticked.fired
            if ticked.next_due_ms > world.now:
                return fired_here

    assert sum(await asyncio.gather(*(race() for _ in range(64)))) == 20 * 30
    expected: set[bytes] = set()
    for n in range(20):
        expected |= ids_of(world, *(START + m * MINUTE for m in range(1, 31)), schedule_id=f"s{n}")
    assert set(await fired(world)) == expected
    assert await world.redis.xlen(world.stream()) == 600


@pytest.mark.parametrize("jump", [-2 * HOUR, 2 * HOUR])
async def test_a_clock_that_jumps(world: World, store: ScheduleStore, jump: int) -> None:
    await put(store, world, every(600, misfire=Misfire.ALL))
    seen: list[int] = []
    for step in (HOUR, jump, HOUR, -jump, 3 * HOUR):
        world.clock.advance(step)
        while True:
            ticked = await store.fire_due(world.domain)
            seen.append(ticked.fired)
            if not ticked.fired:
                break
    last = (await store.get(world.domain, "s1")).next_due_ms
    assert last is not None
    first = START - START % 600_000 + 600_000
    assert set(await fired(world)) == ids_of(world, *range(first, last, 600_000))
    assert sum(seen) == len(range(first, last, 600_000)) == await world.redis.xlen(world.stream())


async def test_pause_and_resume(world: World, store: ScheduleStore) -> None:
    await put(store, world, every())
    paused = await store.pause(world.domain, "s1", by="ana", why="maintenance")
    assert paused.paused == ("ana", START, "maintenance")
    world.clock.advance(10 * MINUTE)
    assert await store.fire_due(world.domain) == (0, 0)
    resumed = await store.resume(world.domain, "s1", by="ben")
    assert resumed.paused is None
    assert await store.fire_due(world.domain) == (0, START + 11 * MINUTE)
    world.clock.advance(MINUTE)
    assert (await store.fire_due(world.domain)).fired == 1
    did = [fields[b"did"] for _, fields in await world.redis.xrange(world.key("operations"))]
    assert did == [b"create schedule s1: every 60 s", b"pause schedule s1", b"resume schedule s1"]


async def test_what_is_due_stays_due_when_it_is_edited(world: World, store: ScheduleStore) -> None:
    await put(store, world, every())
    world.clock.advance(MINUTE)
    old = (await store.get(world.domain, "s1")).schedule
    await store.change(
        world.domain, "s1", lambda each: replace(each, every_ms=HOUR, payload=b"new"), by="ana"
    )
    # a ticker that read the old revision comes too late with it
    assert (
        await store.fire(world.domain, old, START + MINUTE, plan(old, START + MINUTE, world.now, 9)) is None
    )
    assert (await store.fire_due(world.domain)).fired == 1
    [claimed] = (await world.claim()).actions
    assert (claimed.action_id.encode(), claimed.payload) == (*ids_of(world, START + MINUTE), b"new")


async def test_overlap_skip(world: World, store: ScheduleStore) -> None:
    await put(store, world, every(overlap=Overlap.SKIP))
    for _ in range(3):
        world.clock.advance(MINUTE)
        await store.fire_due(world.domain)
    [first] = (await world.claim()).actions
    found = await store.get(world.domain, "s1")
    assert found.last is not None
    assert not found.last.accepted
    world.clock.advance(MINUTE)
    await store.fire_due(world.domain)
    assert (await world.claim()).actions == []  # it runs
    await world.finish(first)
    world.clock.advance(MINUTE)
    await store.fire_due(world.domain)
    assert len((await world.claim()).actions) == 1


async def test_limits_hold_what_is_due(world: World, store: ScheduleStore) -> None:
    """The free tier starts 3 a minute: a schedule earns nothing, and its actions are held like others."""
    await put(store, world, every(1, tier="free", misfire=Misfire.ALL))
    world.clock.advance(10_000)
    await store.fire_due(world.domain)
    assert len((await world.claim(slots=50)).actions) == 3
    assert await world.redis.zrange(world.key("held"), 0, -1) == [b"acme:free"]
    world.clock.advance(MINUTE + 1)
    assert len((await world.claim(slots=50)).actions) == 2  # 5 a day


async def test_the_tier_is_what_the_tenant_is_registered_for(world: World, store: ScheduleStore) -> None:
    await Registry(world.engine).register("acme", "free", by="ana", domains=[world.domain])
    await put(store, world, every(tier="enterprise"))
    await put(store, world, every(schedule_id="s2", tier=""))
    world.clock.advance(MINUTE)
    assert (await store.fire_due(world.domain)).fired == 2
    assert {each.tier for each in (await world.claim()).actions} == {"free"}
    assert [each.last and each.last.accepted for each in await store.listed(world.domain)] == [True, True]


async def test_conflicts_and_unknown_names(world: World, store: ScheduleStore) -> None:
    await put(store, world, every())
    with pytest.raises(ScheduleConflictError, match="already"):
        await put(store, world, every())
    with pytest.raises(UnknownScheduleError, match="did you mean 's1'"):
        await store.pause(world.domain, "s11", by="ana")
    await store.delete(world.domain, "s1", by="ana")
    assert await store.listed(world.domain) == []
    assert not {"schedules", "schedules_due", "schedules_fired"} & set(await world.snapshot())


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"every_ms": 0}, "one of the two"),
        ({"expression": "* * * * *"}, "one of the two"),
        ({"every_ms": 10}, "the interval must be 1 to"),
        ({"every_ms": -1}, "the interval must be"),
        ({"every_ms": 0, "expression": "61 * * * *"}, r"minute '61' \(field 1, position 0\)"),
        ({"every_ms": 0, "expression": "0 0 31 2 *"}, "never due"),
        ({"time_zone": "Europe/Madird"}, "did you mean 'Europe/Madrid'"),
        ({"misfire": "twice"}, "unknown misfire 'twice'"),
        ({"grace_ms": -1}, "the grace must be"),
        ({"payload": b"x" * (1024 * 1024 + 1)}, "at most"),
    ],
)
async def test_what_cannot_be(world: World, store: ScheduleStore, fields: dict[str, Any], said: str) -> None:
    before = await world.snapshot()
    with pytest.raises(ScheduleError, match=said):
        await put(store, world, every(**fields) if "every_ms" not in fields else replace(every(), **fields))
    assert await world.snapshot() == before


def model(schedule: Schedule, start: int, looks: list[int]) -> list[int]:
    """What should be fired, said as simply as can be: minute by minute, look by look."""
    step, done, out = schedule.every_ms, start, []
    for now in looks:
        due = [each for each in range(start - start % step, now + 1, step) if each > done]
        if due:
            done = now
            late = due[0] < now - schedule.grace_ms
            if late and schedule.misfire is Misfire.ONCE:
                due = due[-1:]
            if late and schedule.misfire is Misfire.SKIP:
                due = [each for each in due if each >= now - schedule.grace_ms]
            out += due
    return out


@settings(max_examples=200, deadline=None)
@given(
    step=st.integers(1, 90),
    grace=st.integers(0, 200),
    misfire=st.sampled_from(list(Misfire)),
    waits=st.lists(st.integers(0, 2_000), max_size=8),
)
def test_plans_equal_the_model(step: int, grace: int, misfire: Misfire, waits: list[int]) -> None:
    schedule = every(step, misfire=misfire, grace_ms=grace * 1000)
    now, looks, found = START, [], []
    due = schedule.next_due_ms(START)
    for wait in waits:
        now += wait * 1000
        looks.append(now)
        while due is not None and due <= now:
            doing = plan(schedule, due, now, 7)
            found += doing.fires
            due = doing.next_due_ms
    assert found == model(schedule, START, looks)


async def test_a_ticker_wakes_for_what_is_created(world: World, store: ScheduleStore) -> None:
    ticker = Ticker(world.engine, [world.domain])
    assert await ticker.tick() > 3
    await put(store, world, every(1))
    assert await world.mailbox("w1") == ["cron"]
    assert 1 <= await ticker.tick() <= 1.02


Edit = Callable[[Schedule], Schedule]


async def test_one_of_two_editors_wins_and_the_other_builds_on_it(world: World, store: ScheduleStore) -> None:
    await put(store, world, every())
    edits: list[Edit] = [lambda each: replace(each, every_ms=HOUR), lambda each: replace(each, grace_ms=DAY)]
    await asyncio.gather(*(store.change(world.domain, "s1", edit, by="ana") for edit in edits))
    now = (await store.get(world.domain, "s1")).schedule
    assert (now.every_ms, now.grace_ms, now.revision) == (HOUR, DAY, 3)


async def test_one_that_cannot_be_read_or_planned_keeps_no_other_back(
    world: World, store: ScheduleStore, caplog: pytest.LogCaptureFixture
) -> None:
    """A machine may lack a time zone's data, or know a later version's field less."""
    await put(store, world, every(60, "a-broken"))
    await put(store, world, every(60, "b-zoned", every_ms=0, expression="* * * * *"))
    await put(store, world, every(60, "c-fine"))
    await world.redis.hset(world.key("schedules"), "a-broken", b"1 - - -\n-\n{}\n")
    said = await world.redis.hget(world.key("schedules"), "b-zoned")
    await world.redis.hset(world.key("schedules"), "b-zoned", said.replace(b'"UTC"', b'"Mars/Olympus"'))
    world.clock.set(START + MINUTE)
    fired_here, next_due_ms = await store.fire_due(world.domain)
    assert set(await fired(world)) == ids_of(world, START + MINUTE, schedule_id="c-fine")
    assert fired_here == 1
    assert next_due_ms > world.now, "else the ticker turns without a pause"
    assert "a-broken" in caplog.text
    assert "Mars/Olympus" in caplog.text
