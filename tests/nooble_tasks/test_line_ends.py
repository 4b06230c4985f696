"""Attempts that end in unusual ways leave nothing behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from nooble_tasks._engine import Outcome
from tests.nooble_tasks.test_line import Probe, claimed


@pytest.fixture
async def probe() -> AsyncIterator[Probe]:
    probe = Probe()
    yield probe
    probe.forget_timer()
    await probe.interrupt()


@pytest.mark.parametrize("why", ["cancel", "time"])
async def test_who_says_that_it_swallowed_a_cancellation_leaves_nothing_behind(
    probe: Probe, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    left: list[str] = []
    monkeypatch.setattr(probe, "_leave_room", lambda attempt: left.append(attempt[1].action_id))
    probe.run.swallow, probe.run.uncancel = 1, True
    probe.run.limit = 0.01 if why == "time" else 100.0
    probe.start(claimed())
    await asyncio.sleep(0)
    if why == "cancel":
        probe.cancel("a")
    await asyncio.wait_for(probe.run.swallowed.wait(), 5)
    probe.run.gate.set()
    assert await probe.outcomes() == [Outcome.COMPLETED]
    assert (probe.running, probe.overdue, left) == (0, 0, ["a"])
    probe.run.limit = 100.0
    probe.run.gate.clear()
    probe.nudged.clear()
    probe.start(claimed())  # once more: it can be cancelled as the first one could
    await asyncio.sleep(0)
    probe.cancel("a")
    assert await probe.outcomes() == [Outcome.CANCELLED]


async def test_an_attempt_that_is_over_when_its_task_is_made(probe: Probe) -> None:
    """With an eager task factory, which Python has from 3.12 on."""

    def like_one(loop: asyncio.AbstractEventLoop, attempt: Any, **_: Any) -> Any:
        with pytest.raises(StopIteration) as stop:
            attempt.send(None)
        made = loop.create_future()
        made.set_result(stop.value.value)
        return made

    probe.run.gate.set()
    loop = asyncio.get_running_loop()
    loop.set_task_factory(getattr(asyncio, "eager_task_factory", like_one))
    probe.start(claimed())
    loop.set_task_factory(None)
    assert await probe.outcomes() == [Outcome.COMPLETED]
    assert probe.running == 0


async def test_what_takes_the_place_of_a_cancelled_attempt_can_be_cancelled_as_well(probe: Probe) -> None:
    probe.run.swallow = 2
    probe.start(claimed())
    await asyncio.sleep(0)
    probe.cancel("a")
    await asyncio.wait_for(probe.run.swallowed.wait(), 5)
    probe.start(claimed()._replace(token=2))  # somebody else copied its entry
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    probe.cancel("a")
    assert await probe.outcomes() == [Outcome.CANCELLED]
    assert probe.running == 0
    probe.run.gate.set()  # for the first, which swallows what it is told


async def test_what_is_given_up_does_not_count_as_overdue(
    probe: Probe, monkeypatch: pytest.MonkeyPatch
) -> None:
    probe.run.swallow, probe.run.limit = 2, 0.01
    probe.start(claimed())
    await asyncio.wait_for(probe.run.swallowed.wait(), 5)
    assert probe.overdue == 1
    await probe.interrupt(give_up_s=0.01)
    assert (probe.running, probe.overdue) == (0, 0)
    assert [each.action_id for each in probe.interrupted] == ["a"]
    [task] = probe.given_up
    probe.run.swallow = 0
    task.cancel()
    await asyncio.wait([task], timeout=5)
