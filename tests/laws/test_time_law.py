"""Time law: no script asks for the time and no decision rests on a key's expiry: ``now_ms`` is an argument.

So time can be anything: days of 23 and 25 hours, clocks set back, workers that disagree, a process that was
stopped. A window is never exceeded and nothing is lost. What a clock set back costs is waiting: what was
held, delayed or leased until a time is so until that time comes again.
"""

from __future__ import annotations

import re
from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from freezegun import freeze_time
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import scheduler
from scheduler import Engine, Outcome, SystemClock
from tests.laws.conftest import Prepare
from tests.laws.timeline import Job, Shipping, play
from tests.scheduler.world import MINUTE, World, new, some

HOUR = 60 * MINUTE
DAILY = """
default_tier = "t"
time_zone = "{0}"
[tiers.t]
priority = 1
limits = ["{1}/day"]
"""
LIMITS = """
default_tier = "moving"
[tiers.moving]
priority = 1
limits = ["5/minute"]
[tiers.fixed]
priority = 2
limits = [{ rate = "5/minute", strategy = "fixed-window" }]
[tiers.sliding]
priority = 3
limits = [{ rate = "5/minute", strategy = "sliding-window-counter" }]
[tiers.daily]
priority = 4
limits = ["5/day"]
"""
SCRIPTS = Path(scheduler.__file__).parent / "scripts"


def test_no_script_asks_for_the_time_or_rests_on_an_expiry() -> None:
    for path in SCRIPTS.rglob("*.lua"):
        code = re.sub(r"--[^\n]*", "", path.read_text())
        assert not re.search(r"'(TIME|TTL|PTTL|EXPIRETIME|PEXPIRETIME|OBJECT)'|os\.(time|clock)", code), (
            path.name
        )


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("Europe/Madrid", "2025-03-30", 23),
        ("Europe/Madrid", "2025-10-26", 25),
        ("Australia/Lord_Howe", "2025-10-05", 23.5),
        ("America/Sao_Paulo", "2018-11-04", 23),  # there was no midnight
        ("Pacific/Apia", "2011-12-29", 24),  # the day after it was left out
    ],
)
async def test_a_quota_of_a_day_resets_at_the_local_midnight(
    prepare: Prepare, zone: str, day: str, hours: float
) -> None:
    """Days around the odd one, always with work: each local date has its four, from its first moment on."""
    world = await prepare(DAILY.format(zone, 4))
    noon = datetime.fromisoformat(f"{day}T12:00").replace(tzinfo=ZoneInfo(zone)) - timedelta(days=1)
    began_ms = round(noon.timestamp() * 1000)
    world.clock.set(began_ms)
    await world.worker("w1")
    jobs = [Job(0, "a", 1) for _ in range(40)]
    played = await play(Shipping(world), jobs, slots=2, until_ms=4 * 24 * HOUR)
    starts = [
        datetime.fromtimestamp((began_ms + start.at_ms) / 1000, ZoneInfo(zone)) for start in played.starts
    ]
    dates = Counter(start.date() for start in starts)
    assert set(dates.values()) == {4}
    firsts = [next(start for start in starts if start.date() == date) for date in sorted(dates)]
    odd = next(n for n, first in enumerate(firsts) if first.date().isoformat() == day)
    length = firsts[odd + 1].timestamp() - firsts[odd].timestamp()
    assert length == pytest.approx(hours * 3600, abs=0.01)


STEPS_MS = st.sampled_from([0, 1, 300, 7_000, 20_000, 61_000, -2 * HOUR, 2 * HOUR, -2_000, 2_000])


def test_clocks_that_step_exceed_no_window(redis_url: str) -> None:
    """Steps of ±2 h and two workers 2 s apart, any strategy: no window of told times holds too many.

    What the server is told goes back and forth; it counts a start at the latest time it has heard.
    """
    import asyncio

    from redis.asyncio import Redis

    async def run(tier: str, steps: list[tuple[int, int, int]]) -> None:
        async with Redis.from_url(redis_url, protocol=2, socket_timeout=10) as redis:
            await redis.flushdb()
            world = World(redis, LIMITS)
            await world.engine.publish_policy(world.domain)
            await world.enqueue(*some(120, "a", tier))
            latest, counted, ended = 0, [], 0
            for step_ms, behind_ms, slots in steps:
                true_ms = world.clock.advance(step_ms)
                world.clock.set(true_ms - behind_ms)
                await world.worker("w1")
                claim = await world.claim(slots=slots)
                latest = max(latest, world.now)
                counted += [latest] * len(claim.actions)
                ended += sum(await world.finish(*claim.actions))
                world.clock.set(true_ms)
            assert ended == len(counted)
            for first, last in zip(counted, counted[5:], strict=False):
                match tier:
                    case "moving":
                        assert last - first > MINUTE
                    case "daily":
                        assert last // (24 * HOUR) > first // (24 * HOUR)
                    case _:
                        assert last // MINUTE > first // MINUTE or tier == "fixed"
            assert int((await world.snapshot())["waiting"][f"a:{tier}"]) == 120 - len(counted)

    @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
    @given(
        tier=st.sampled_from(["moving", "fixed", "sliding", "daily"]),
        steps=st.lists(
            st.tuples(STEPS_MS, st.sampled_from([0, 0, 2_000]), st.integers(1, 6)), min_size=5, max_size=25
        ),
    )
    def never(tier: str, steps: list[tuple[int, int, int]]) -> None:
        asyncio.run(run(tier, steps))

    never()


async def test_a_clock_set_back_costs_waiting_and_nothing_else(prepare: Prepare) -> None:
    """Two hours back: a hold, a delay and a dead worker's lease end when their time comes again."""
    world = await prepare(LIMITS)
    await world.worker("dead")
    await world.enqueue(*some(7, "a", "moving"), new("later", "b", "moving", due_ms=world.now + 1_000))
    owned = (await world.claim("dead", 1)).actions
    done = (await world.claim(slots=9)).actions
    await world.finish(*done)
    world.clock.advance(-2 * HOUR)
    await world.worker("w1")
    claim = await world.claim()
    assert not claim.actions
    assert claim.next_due_ms == world.now + 2 * HOUR + 1_000
    assert (await world.engine.reclaim(world.domain)).actions == 0
    await world.enqueue(new("meanwhile", "c", "moving"))
    meanwhile = (await world.claim()).actions
    assert [action.action_id for action in meanwhile] == ["meanwhile"]
    await world.finish(*meanwhile)
    world.clock.advance(2 * HOUR + MINUTE + 1)
    await world.worker("w1")
    await world.engine.reclaim(world.domain)
    rest = (await world.claim(slots=20)).actions
    assert {action.action_id for action in rest} == {owned[0].action_id, "a-5", "a-6", "later"}


async def test_a_clock_set_forward_takes_no_running_action_from_a_worker_that_lives(prepare: Prepare) -> None:
    """Leases seem to have ended; the worker's next word, whichever comes first, keeps what it holds."""
    world = await prepare()
    await world.enqueue(*some(2, "a", "t"))
    one, two = (await world.claim(slots=2)).actions
    world.clock.advance(2 * HOUR)
    assert (await world.engine.extend(world.domain, "w1")).held
    assert (await world.engine.reclaim(world.domain)).actions == 0
    assert await world.finish(one, two) == [True, True]


async def test_a_process_that_was_stopped_leaps_and_its_late_finish_is_refused(prepare: Prepare) -> None:
    """Its lease ended meanwhile and another ran its action: exactly one finish is accepted."""
    world = await prepare()
    await world.worker("stopped")
    await world.enqueue(*some(1, "a", "t"))
    (held,) = (await world.claim("stopped")).actions
    world.clock.advance(HOUR)
    await world.worker("w1")
    assert (await world.engine.reclaim(world.domain)).actions == 1
    (again,) = (await world.claim()).actions
    assert await world.finish(held, worker="stopped") == [False]
    assert await world.finish(again) == [True]
    assert (await world.claim("stopped")).lost


async def test_two_workers_two_seconds_apart_share_a_minute(prepare: Prepare) -> None:
    """Five per minute, whoever asks; a hold ends for each when its own clock says so."""
    world = await prepare(LIMITS)
    await world.worker("ahead")
    await world.enqueue(*some(20, "a", "moving"))
    began = world.now
    starts: list[int] = []
    for second in range(130):
        for worker, ahead_ms in (("w1", 0), ("ahead", 2_000)):
            world.clock.set(began + 1_000 * second + ahead_ms)
            await world.worker(worker)
            claim = await world.claim(worker, 3)
            starts += [max([world.now, *starts])] * len(claim.actions)
            await world.finish(*claim.actions, worker=worker)
    assert len(starts) == 15
    assert all(last - first > MINUTE for first, last in zip(starts, starts[5:], strict=False))


@pytest.mark.parametrize("edge", ["2025-06-15T23:59:59.999", "2025-12-31T23:59:59.999"])
async def test_frozen_time_runs_the_engine_as_the_real_one_does(prepare: Prepare, edge: str) -> None:
    """An engine on the machine's clock under freezegun: the last millisecond of a day, then the first."""
    world = await prepare(LIMITS)
    with freeze_time(edge, real_asyncio=True) as frozen:
        world.engine = Engine(world.redis, policy=world.policy, clock=SystemClock())
        await world.worker("w1")
        await world.enqueue(*some(12, "a", "daily"))
        first = (await world.claim()).actions
        await world.finish(*first, outcome=Outcome.COMPLETED)
        held = await world.claim()
        assert (len(first), held.actions) == (5, [])
        assert held.next_due_ms == SystemClock().now_ms() + 1
        frozen.tick(timedelta(milliseconds=1))
        assert len((await world.claim()).actions) == 5
