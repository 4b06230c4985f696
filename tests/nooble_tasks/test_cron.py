"""Schedules of services and clients: declared in code, made at run time, fired by workers."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from redis.asyncio import Redis

from nooble_tasks import (
    BaseRedisClient,
    BaseService,
    ConfigurationError,
    DomainAction,
    InvalidAction,
    InvalidId,
    InvalidTime,
    ScheduleConflictError,
    ScheduleError,
    UnknownScheduleError,
    UnknownTier,
    cron,
    handles,
)
from nooble_tasks.cron import declared_schedules
from tests.nooble_tasks.support import DOMAIN, ProbeService, settings_for, soon, until, working


class Reports(BaseService):
    """Declares a schedule per tenant and one without a zone."""

    def __init__(self) -> None:
        super().__init__(app_settings=settings_for())
        self.seen: asyncio.Queue[DomainAction] = asyncio.Queue()

    @handles("probe.often")
    @cron(every=1, tenant_id="acme", tier="enterprise", data={"kind": [], "big": 12345678901234567890})
    async def often(self, data: Any, action: DomainAction) -> None:
        """Every second."""
        assert data == {"kind": [], "big": 12345678901234567890}
        self.seen.put_nowait(action)

    @handles("probe.daily")
    @cron("0 6 * * *", time_zone="Europe/Madrid", tenants=["acme", "globex"], misfire="all")
    @cron("@hourly", tenant_id="acme", name="probe.hourly", overlap="skip")
    async def daily(self, data: Any) -> None:
        """Every day, and every hour for one."""


async def test_declared_schedules_are_fired_by_the_worker(redis: Redis, client: BaseRedisClient) -> None:
    service = Reports()
    async with working(redis, service):
        first, second = await soon(service.seen.get()), await soon(service.seen.get())
        listed = {each.schedule.schedule_id: each for each in await client.schedules.list(DOMAIN)}
    assert sorted(listed) == [
        "probe.daily.acme",
        "probe.daily.globex",
        "probe.hourly.acme",
        "probe.often.acme",
    ]
    assert first.action_id == first.trace_id != second.action_id
    times = [datetime.fromisoformat(each.metadata["scheduled_for"]) for each in (first, second)]
    assert (times[1] - times[0]) % timedelta(seconds=1) == timedelta(0)
    assert (first.created_at, first.metadata["schedule_id"]) == (times[0], "probe.often.acme")
    daily = listed["probe.daily.globex"].schedule
    assert (daily.time_zone, daily.misfire, daily.owner) == ("Europe/Madrid", "all", "probe_service")
    assert listed["probe.often.acme"].last_accepted


async def test_what_is_made_at_run_time_wakes_a_sleeping_worker(
    redis: Redis, client: BaseRedisClient, probe: ProbeService
) -> None:
    probe.gate.set()
    async with working(redis, probe):
        made = await client.schedules.create(
            "nightly", "probe.wait", every=1, tenant_id="acme", tier="enterprise", data={"n": 1}, by="ana"
        )
        assert made.next_due is not None
        action = await probe.next_started()
    assert (action.data, action.origin_service) == ({"n": 1}, "tester")
    assert made.schedule.changed.by == "ana"


async def test_every_command(client: BaseRedisClient) -> None:
    schedules = client.schedules
    await schedules.create("night", "probe.echo", "0 2 * * *", tenant_id="acme", data=[1], why="asked for")
    edited = await schedules.edit(DOMAIN, "night", expression="0 3 * * *", time_zone="America/Lima")
    assert (edited.schedule.expression, edited.schedule.time_zone) == ("0 3 * * *", "America/Lima")
    assert b'"data":[1]' in edited.schedule.payload
    times = await schedules.next(DOMAIN, "night", 3)
    assert [each.hour for each in times] == [8, 8, 8]
    assert edited.next_due == times[0]
    assert (await schedules.edit(DOMAIN, "night", every=90)).schedule.every_ms == 90_000
    paused = await schedules.pause(DOMAIN, "night", by="ana", why="broken")
    assert (paused.next_due, paused.schedule.paused and paused.schedule.paused.why) == (None, "broken")
    assert (await schedules.resume(DOMAIN, "night")).next_due is not None
    action_id = await schedules.run_now(DOMAIN, "night", by="ana")
    assert action_id is not None
    await schedules.delete(DOMAIN, "night", by="ana", why="done")
    with pytest.raises(UnknownScheduleError):
        await schedules.get(DOMAIN, "night")
    key = client.bus.keys.of("operations", DOMAIN)
    told = [(each[b"by"], each[b"did"]) for _, each in await client.redis_client.xrange(key)]
    assert [did.split(b":")[0] for _, did in told] == [
        b"create schedule night",
        b"edit schedule night",
        b"edit schedule night",
        b"pause schedule night",
        b"resume schedule night",
        b"run schedule night now",
        b"delete schedule night",
    ]
    assert told[-1][0] == b"ana"


async def test_run_now_respects_overlap(client: BaseRedisClient) -> None:
    await client.schedules.create("x", "probe.echo", every=60, tenant_id="acme", overlap="skip")
    assert await client.schedules.run_now(DOMAIN, "x")
    assert await client.schedules.run_now(DOMAIN, "x") is None


async def test_backfill(client: BaseRedisClient) -> None:
    await client.schedules.create("x", "probe.echo", "0 * * * *", tenant_id="acme")
    end = datetime.now(UTC).replace(minute=30)
    end = end - timedelta(hours=1)
    start = end - timedelta(hours=24)
    seen: list[int] = []
    done = await client.schedules.backfill(
        DOMAIN, "x", start, end, rate=10_000, on_progress=lambda each: seen.append(each.done)
    )
    assert done == (24, 24, 24)
    assert (seen[0], seen[-1]) == (0, 24)
    again = await client.schedules.backfill(DOMAIN, "x", start, end)
    assert (again.done, again.accepted) == (24, 0)
    waiting = await client.redis_client.hvals(client.bus.keys.of("waiting", DOMAIN))
    assert waiting == [b"24"]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"expression": "61 * * * *"}, ScheduleError),
        ({"expression": "0 0 31 2 *"}, ScheduleError),
        ({}, ScheduleError),
        ({"every": 0.5}, ScheduleError),
        ({"every": -1}, ValueError),
        ({"every": 60, "tier": "gold"}, UnknownTier),
        ({"every": 60, "tenant_id": "a:b"}, InvalidId),
        ({"every": 60, "data": {"x": object()}}, InvalidAction),
        ({"every": 60, "data": "nooble-schedule-due-at"}, InvalidAction),
        ({"every": 60, "time_zone": "Madrid"}, ScheduleError),
        ({"every": 60, "schedule_id": "a b"}, InvalidId),
        ({"every": 60, "action_type": "one"}, InvalidId),
    ],
)
async def test_what_cannot_be_created(
    client: BaseRedisClient, arguments: dict[str, Any], error: type[Exception]
) -> None:
    fields = {"schedule_id": "x", "action_type": "probe.echo", "tenant_id": "acme", **arguments}
    with pytest.raises(error):
        await client.schedules.create(**fields)
    assert await client.redis_client.keys("*schedule*") == []


async def test_twice_is_a_conflict(client: BaseRedisClient) -> None:
    await client.schedules.create("x", "probe.echo", every=60, tenant_id="acme")
    with pytest.raises(ScheduleConflictError, match="edit it"):
        await client.schedules.create("x", "probe.echo", every=60, tenant_id="acme")


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"expression": "0 6 * *", "tenant_id": "acme"}, ScheduleError),
        ({"tenant_id": "acme"}, ScheduleError),
        ({"expression": "0 6 * * *", "every": 60, "tenant_id": "acme"}, ScheduleError),
        ({"every": 0, "tenant_id": "acme"}, InvalidTime),
        ({"expression": "0 6 * * *"}, ConfigurationError),
        ({"expression": "0 6 * * *", "tenants": "acme"}, ConfigurationError),
        ({"expression": "0 6 * * *", "tenants": ["acme", "acme"]}, ConfigurationError),
        ({"expression": "0 6 * * *", "tenant_id": "acme", "misfire": "alll"}, ScheduleError),
    ],
)
def test_bad_declarations_say_so_where_they_stand(arguments: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        cron(**arguments)


def test_two_of_the_same_name() -> None:
    class Twice(BaseService):
        @handles("probe.echo")
        @cron(every=60, tenant_id="acme")
        @cron(every=90, tenant_id="acme")
        async def echo(self, data: Any) -> None:
            """Twice."""

    with pytest.raises(ConfigurationError, match=r"two schedules probe\.echo\.acme"):
        declared_schedules(Twice(app_settings=settings_for()))


async def test_a_worker_that_leaves_declares_nothing_any_more(redis: Redis, client: BaseRedisClient) -> None:
    key = client.bus.keys.of("declarations", DOMAIN)
    async with working(redis, Reports()):
        await until(lambda: redis.exists(key))
    assert not await redis.exists(key)
    assert len(await client.schedules.list(DOMAIN)) == 4
