"""A tenant's calendar quotas begin in its own time zone, daylight saving included."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo, available_timezones

import pytest
from redis.asyncio import Redis

from scheduler import PolicyError, RefusalReason
from scheduler.overrides import clear_override, get_override, set_override
from scheduler.schedule_store import ScheduleStore
from scheduler.schedules import Schedule
from scheduler.usage import tenant_limits
from scheduler.why import why
from tests.scheduler.test_laws import calls
from tests.scheduler.world import DAY, World, ids, new, some

HOUR = 3_600_000
TIERS = """
default_tier = "free"
[tiers.free]
priority = 1
limits = ["1/day"]
[tiers.strict]
priority = 2
limits = ["1/day"]
over_limit = "refuse"
"""


def at(zone: str, year: int, month: int, day: int, hour: int = 0) -> int:
    return int(datetime(year, month, day, hour, tzinfo=ZoneInfo(zone)).timestamp() * 1000)


async def in_zone(world: World, tenant: str, zone: str) -> None:
    await set_override(world.engine, [world.domain], tenant, by="ana", time_zone=zone)


@pytest.fixture
async def world(redis: Redis) -> World:
    world = World(redis, TIERS)
    await world.worker("w1")
    await world.engine.publish_policy(world.domain)
    return world


async def started(world: World) -> list[str]:
    await world.worker("w1")
    claimed = (await world.claim()).actions
    await world.finish(*claimed)
    return sorted(ids(claimed))


async def test_each_tenant_s_day_begins_where_it_is(world: World) -> None:
    world.clock.set(at("UTC", 2025, 7, 1, 12))
    zones = {"m": "Europe/Madrid", "t": "Asia/Tokyo", "n": "America/New_York"}
    for tenant, zone in zones.items():
        await in_zone(world, tenant, zone)
    for tenant in (*zones, "u"):
        await world.enqueue(*some(2, tenant, "free"))
    assert await started(world) == ["m-0", "n-0", "t-0", "u-0"]
    seen: dict[str, int] = {}
    while len(seen) < 4:
        claim = await world.claim()
        for action in claim.actions:
            seen[action.tenant_id] = world.now
        await world.finish(*claim.actions)
        if len(seen) < 4:
            world.clock.set((await world.claim()).next_due_ms)
            await world.worker("w1")
    assert seen == {
        "t": at("Asia/Tokyo", 2025, 7, 2),
        "m": at("Europe/Madrid", 2025, 7, 2),
        "u": at("UTC", 2025, 7, 2),
        "n": at("America/New_York", 2025, 7, 2),
    }


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("Europe/Madrid", (2025, 3, 30), 23),
        ("Europe/Madrid", (2025, 10, 26), 25),
        ("America/New_York", (2025, 3, 9), 23),
        ("America/New_York", (2025, 11, 2), 25),
        ("Australia/Lord_Howe", (2025, 4, 6), 24.5),
        ("Asia/Kathmandu", (2025, 6, 1), 24),
    ],
)
async def test_days_that_are_shorter_or_longer(
    world: World, zone: str, day: tuple[int, int, int], hours: float
) -> None:
    await in_zone(world, "acme", zone)
    world.clock.set(at(zone, *day))
    await world.enqueue(*some(3, tier="free"))
    assert await started(world) == ["acme-0"]
    for before_ms in (HOUR, 1):
        world.clock.set(at(zone, *day) + int(hours * HOUR) - before_ms)
        assert await started(world) == []
    world.clock.advance(1)
    following = date(*day) + timedelta(days=1)
    assert world.now == at(zone, following.year, following.month, following.day)
    assert await started(world) == ["acme-1"]


async def test_what_an_operator_sees_and_the_reason_to_wait(world: World) -> None:
    world.clock.set(at("UTC", 2025, 7, 1, 12))
    await in_zone(world, "acme", "Asia/Tokyo")
    await world.enqueue(*some(2, tier="free"))
    assert await started(world) == ["acme-0"]
    shown = await tenant_limits(world.engine, world.domain, "acme", "free")
    [limit] = shown.limits
    midnight = at("Asia/Tokyo", 2025, 7, 2)
    assert (limit.period, limit.more_at_ms, shown.own_rules) == ("1 day Asia/Tokyo", midnight, True)
    assert await started(world) == []
    told = await why(world.engine, world.domain, "acme-1")
    assert told
    assert told.earliest_start_ms == midnight


async def test_refused_at_enqueue_until_midnight_there(world: World) -> None:
    world.clock.set(at("UTC", 2025, 7, 1, 12))
    await in_zone(world, "acme", "Asia/Tokyo")
    [first, second] = await world.enqueue(new("x1", tier="strict"), new("x2", tier="strict"))
    assert first.accepted
    assert second.refusal
    assert second.refusal.reason is RefusalReason.LIMIT
    assert second.refusal.retry_after_ms == at("Asia/Tokyo", 2025, 7, 2) - world.now


async def test_taken_back_and_kept_beside_other_rules(world: World) -> None:
    where = (world.engine, [world.domain], "acme")
    world.clock.set(at("UTC", 2025, 7, 1, 12))
    await world.enqueue(*some(4, tier="free"))
    assert await started(world) == ["acme-0"]
    await set_override(*where, by="ana", weight=2)
    await in_zone(world, "acme", "Asia/Tokyo")
    assert await started(world) == []  # the same day still
    said = await get_override(world.engine, world.domain, "acme")
    assert said
    assert (said.weight, said.time_zone, said.limits) == (2.0, "Asia/Tokyo", None)
    await set_override(*where, by="ana", limits=["2/day"])
    assert await started(world) == ["acme-1"]
    await clear_override(*where, by="ana", rules=["time_zone"])
    said = await get_override(world.engine, world.domain, "acme")
    assert said
    assert (said.time_zone, said.limits is None) == (None, False)
    world.clock.set(at("UTC", 2025, 7, 2))
    assert await started(world) == ["acme-2", "acme-3"]


@pytest.mark.parametrize(
    ("zone", "near"),
    [("Europe/Madird", "Europe/Madrid"), ("madrid", "Europe/Madrid"), ("", ""), ("Mars", "")],
)
async def test_an_unknown_zone_changes_nothing(world: World, zone: str, near: str) -> None:
    before = await world.snapshot()
    with pytest.raises(PolicyError, match=f"time_zone: unknown time zone {zone!r}.*{near}"):
        await in_zone(world, "acme", zone)
    assert await world.snapshot() == before


async def test_every_zone_at_once_and_at_no_cost_for_the_others(world: World) -> None:
    zones = sorted(available_timezones())[:400]
    arguments = len(world.engine._claim_call(world.domain, "w1", 1)[2])
    for n, zone in enumerate(zones):
        await in_zone(world, f"t{n}", zone)
    await world.enqueue(*[new(f"x{n}", f"t{n}", "free") for n in range(len(zones))])
    done: list[str] = []
    while len(done) < len(zones):
        found = await started(world)
        assert found
        done += found
    assert len(world.engine._claim_call(world.domain, "w1", 1)[2]) == arguments
    assert len(await world.redis.hkeys(world.key("zone_periods"))) == len(zones)
    await world.enqueue(new("plain", "plain", "free"))
    before = await calls(world.redis)
    assert await world.claim_ids() == ["plain"]
    spent = await calls(world.redis) - before
    assert spent["cmdstat_hget"] <= 1  # the usage of the domain is not asked either
    world.clock.advance(2 * DAY)
    await world.worker("w1")
    await world.enqueue(*[new(f"y{n}", f"t{n}", "free") for n in range(5)])
    assert len(await started(world)) == 5
    assert len(await world.redis.hkeys(world.key("zone_periods"))) == len(zones)


async def test_a_schedule_of_a_tier_that_refuses_fires_on_every_day_there(world: World) -> None:
    """The first due time of a day asks for the day; it must not be taken for fired meanwhile."""
    store, zone = ScheduleStore(world.engine), "Asia/Tokyo"
    world.clock.set(at(zone, 2025, 7, 1, 9))
    await in_zone(world, "acme", zone)
    daily = Schedule(
        "s1", "embedding.generate", "acme", b"{}", tier="strict", expression="0 6 * * *", time_zone=zone
    )
    await store.create(world.domain, daily, by="ana")
    for day in (2, 3):
        world.clock.set(at(zone, 2025, 7, day, 6))
        await store.fire_due(world.domain)
        assert len(await started(world)) == 1, f"2025-07-0{day}"
