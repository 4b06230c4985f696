"""What code declares, while deployments roll: versions do not undo each other."""

from __future__ import annotations

from typing import Any

import pytest

from scheduler.schedule_errors import ScheduleError
from scheduler.schedule_store import Declared, ScheduleStore
from scheduler.schedules import Schedule
from tests.scheduler.world import World

OWNER = "reports"


def daily(hour: int, schedule_id: str = "daily", **more: Any) -> Schedule:
    return Schedule(schedule_id, "embedding.daily", "acme", b"{}", expression=f"0 {hour} * * *", **more)


class Fleet:
    """Workers of a service; each declares what its version says."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.store = ScheduleStore(world.engine)

    async def says(self, worker: str, *schedules: Schedule, owner: str = OWNER) -> Declared:
        await self.world.worker(worker)
        return await self.store.declare(self.world.domain, worker, owner, schedules)

    async def leaves(self, worker: str) -> None:
        await self.world.engine.retire(self.world.domain, worker)

    async def dies(self, worker: str) -> None:
        await self.world.redis.zadd(self.world.key("workers"), {worker: self.world.now - 1})

    async def hours(self) -> dict[str, str]:
        listed = await self.store.listed(self.world.domain)
        return {each.schedule.schedule_id: each.schedule.expression.split()[1] for each in listed}


@pytest.fixture
async def fleet(world: World) -> Fleet:
    return Fleet(world)


NOTHING = Declared([], [], [], [])


async def test_a_rolling_deployment_forward(fleet: Fleet) -> None:
    assert await fleet.says("old1", daily(6)) == (["daily"], [], [], [])
    assert await fleet.says("old2", daily(6)) == NOTHING
    assert await fleet.says("new1", daily(7)) == ([], ["daily"], [], [])
    for _ in range(3):  # old ones say so again and again: nothing flips
        assert await fleet.says("old1", daily(6)) == NOTHING
        assert await fleet.says("new1", daily(7)) == NOTHING
    assert await fleet.says("old3", daily(6)) == NOTHING
    assert await fleet.hours() == {"daily": "7"}


@pytest.mark.parametrize("end", ["leaves", "dies"])
async def test_back_to_the_old_version(fleet: Fleet, end: str) -> None:
    await fleet.says("old1", daily(6))
    await fleet.leaves("old1")
    await fleet.says("new1", daily(7))
    assert await fleet.says("old2", daily(6)) == NOTHING
    await getattr(fleet, end)("new1")
    assert await fleet.says("old2", daily(6)) == ([], ["daily"], [], [])
    assert await fleet.hours() == {"daily": "6"}
    # and forward once more
    assert await fleet.says("new2", daily(7)) == NOTHING
    await fleet.leaves("old2")
    assert await fleet.says("new2", daily(7)) == ([], ["daily"], [], [])


async def test_a_removed_one_goes_with_the_last_who_declares_it(fleet: Fleet) -> None:
    await fleet.says("old1", daily(6), daily(9, "second"))
    assert await fleet.says("new1", daily(6)) == NOTHING
    assert await fleet.hours() == {"daily": "6", "second": "9"}
    await fleet.leaves("old1")
    assert await fleet.says("new1", daily(6)) == ([], [], ["second"], [])
    assert await fleet.says("new1") == ([], [], ["daily"], [])
    left = await fleet.world.snapshot()
    assert not {"schedules", "schedules_due", "schedule_owners", "declarations"} & set(left)


async def test_another_service_of_the_domain_removes_nothing(fleet: Fleet) -> None:
    await fleet.says("a1", daily(6))
    await fleet.leaves("a1")
    assert await fleet.says("b1", daily(8, "other"), owner="invoices") == (["other"], [], [], [])
    assert await fleet.hours() == {"daily": "6", "other": "8"}


async def test_a_pause_outlives_a_changed_declaration(fleet: Fleet) -> None:
    await fleet.says("w1", daily(6))
    await fleet.store.pause(fleet.world.domain, "daily", by="ana", why="too much")
    assert (await fleet.says("w2", daily(7))).updated == ["daily"]
    found = await fleet.store.get(fleet.world.domain, "daily")
    assert found.next_due_ms is None
    assert found.schedule.paused is not None
    assert found.schedule.paused.why == "too much"
    assert found.schedule.expression == "0 7 * * *"
    resumed = await fleet.store.resume(fleet.world.domain, "daily", by="ana")
    assert resumed.owner == OWNER
    assert await fleet.says("w1", daily(6)) == NOTHING  # what was superseded is still known


async def test_what_was_made_at_run_time_is_not_taken_over(fleet: Fleet) -> None:
    await fleet.store.create(fleet.world.domain, daily(5), by="ana")
    assert await fleet.says("w1", daily(6)) == ([], [], [], ["daily"])
    assert await fleet.hours() == {"daily": "5"}


async def test_commands_on_a_declared_one(fleet: Fleet) -> None:
    await fleet.says("w1", daily(6))
    with pytest.raises(ScheduleError, match="declared in the code of reports"):
        await fleet.store.change(fleet.world.domain, "daily", lambda each: each, by="ana")
    with pytest.raises(ScheduleError, match="worker w1 declares"):
        await fleet.store.delete(fleet.world.domain, "daily", by="ana")
    await fleet.leaves("w1")
    await fleet.store.delete(fleet.world.domain, "daily", by="ana")
    assert await fleet.hours() == {}
