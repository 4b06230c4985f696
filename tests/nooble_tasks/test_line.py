"""One domain's attempts: who stopped an attempt decides how it ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextvars import ContextVar
from typing import Any, cast

import pytest

from nooble_tasks import line as line_module
from nooble_tasks._engine import Claimed, Finish, Outcome
from nooble_tasks.line import Line
from nooble_tasks.slots import Slots

MARK = ContextVar("mark", default="nobody's")


def claimed(name: str = "a") -> Claimed:
    return Claimed(name, "probe.x", "acme", "enterprise", b"", 1, 1, 0, 0, 0, "", "", False)


class FakeExecutor:
    def __init__(self) -> None:
        self.limit = 100.0
        self.gate = asyncio.Event()
        self.swallow = 0
        self.uncancel = False
        self.swallowed = asyncio.Event()
        self.error: BaseException | None = None
        self.begun: list[str] = []
        self.on_end: Callable[[], object] = lambda: None
        self.mark = False
        self.marks_found: list[str] = []

    def limit_s(self, claimed: Claimed) -> float:
        return self.limit

    def as_of_now(self, claimed: Claimed) -> Claimed:
        return claimed

    async def run(self, claimed: Claimed, limit_s: float) -> Finish:
        self.begun.append(claimed.action_id)
        if self.mark:
            self.marks_found.append(MARK.get())
            MARK.set(claimed.action_id)
        while True:
            try:
                await self.gate.wait()
                if self.error is not None:
                    raise self.error
                self.on_end()
                return Finish(claimed, Outcome.COMPLETED)
            except asyncio.CancelledError:
                if self.swallow == 0:
                    raise
                self.swallow -= 1
                self.swallowed.set()
                task = asyncio.current_task()
                if self.uncancel and task is not None:
                    task.uncancel()

    def cancelled(self, claimed: Claimed) -> Finish:
        return Finish(claimed, Outcome.CANCELLED)

    def timed_out(self, claimed: Claimed, limit_s: float) -> Finish:
        return Finish(claimed, Outcome.RETRY)

    def broken(self, claimed: Claimed, error: BaseException) -> Finish:
        return Finish(claimed, Outcome.DEAD, reason=repr(error))


class Probe(Line):
    def __init__(self) -> None:
        self.run = FakeExecutor()
        self.nudged = asyncio.Event()
        self.slots = Slots(10)
        super().__init__("probe", cast(Any, self.run), self.nudged.set, self.slots)

    async def outcomes(self) -> list[Outcome]:
        await asyncio.wait_for(self.nudged.wait(), 5)
        return [finish.outcome for finish in self.take_ended()]


@pytest.fixture
async def line() -> AsyncIterator[Probe]:
    line = Probe()
    yield line
    line.forget_timer()
    await line.interrupt()


async def test_done(line: Probe) -> None:
    line.start(claimed())
    assert line.running == 1
    line.run.gate.set()
    assert await line.outcomes() == [Outcome.COMPLETED]
    assert line.running == 0


async def test_cancelled_on_demand_once(line: Probe) -> None:
    line.start(claimed())
    await asyncio.sleep(0)
    line.cancel("a")
    line.cancel("a")
    line.cancel("somebody elses")
    assert await line.outcomes() == [Outcome.CANCELLED]


async def test_another_claim_of_the_same_takes_the_place_of_the_first(line: Probe) -> None:
    """Somebody else copied an entry. Of the first nothing would be accepted, and nothing watches over it."""
    line.start(claimed())
    [first] = asyncio.all_tasks() - {asyncio.current_task()}
    await asyncio.sleep(0)
    line.start(claimed()._replace(token=2))
    await asyncio.wait({first}, timeout=5)
    assert first.cancelled()
    line.run.gate.set()
    line.nudged.clear()
    await asyncio.wait_for(line.nudged.wait(), 5)
    assert [finish.action.token for finish in line.take_ended()] == [2]
    assert line.running == 0


async def test_overdue(line: Probe) -> None:
    line.run.limit = 0.01
    line.start(claimed())
    assert await line.outcomes() == [Outcome.RETRY]


async def test_a_limit_counts_for_its_own_attempt_only(line: Probe) -> None:
    line.run.limit = 0.01
    line.run.gate.set()
    line.start(claimed())
    assert await line.outcomes() == [Outcome.COMPLETED]
    line.run.gate.clear()
    line.run.limit = 100
    line.start(claimed())  # the same action again, before the first attempt's time is over
    passed = asyncio.Event()
    asyncio.get_running_loop().call_later(0.25, passed.set)
    await passed.wait()
    assert line.running == 1


async def test_the_limit_of_an_abandoned_attempt_that_runs_on_stops_no_later_one(line: Probe) -> None:
    line.run.limit, line.run.swallow = 0.01, 1
    line.start(claimed())
    await asyncio.sleep(0)
    line.abandon()
    line.run.limit = 100
    line.start(claimed())
    passed = asyncio.Event()
    asyncio.get_running_loop().call_later(0.25, passed.set)
    await passed.wait()
    assert (line.running, line.overdue) == (1, 0)
    line.run.gate.set()
    assert await line.outcomes() == [Outcome.COMPLETED]


async def test_interrupted_is_given_back(line: Probe) -> None:
    line.start(claimed())
    await asyncio.sleep(0)
    await line.interrupt()
    assert (line.interrupted, line.ended, line.running) == ([claimed()], [], 0)
    assert line.begun == {claimed().action_id}  # a start is a start
    assert line.knows("a", claimed().token)
    assert not line.knows("a", claimed().token + 1), "taken again since"


async def test_attempts_are_told_apart_by_their_tasks_names(line: Probe) -> None:
    line.start(claimed())
    [task] = asyncio.all_tasks() - {asyncio.current_task()}
    assert task.get_name() == claimed().action_type


async def test_a_task_factory_of_the_users_makes_the_tasks(line: Probe) -> None:
    loop, made = asyncio.get_running_loop(), []

    def factory(loop: asyncio.AbstractEventLoop, runs: Any) -> asyncio.Task[Any]:
        made.append(asyncio.Task(runs, loop=loop))
        return made[-1]

    loop.set_task_factory(factory)
    try:
        line.start(claimed())
    finally:
        loop.set_task_factory(None)
    line.run.gate.set()
    assert await line.outcomes() == [Outcome.COMPLETED]
    assert len(made) == 1


async def test_a_stranger_cancels_what_has_not_begun(line: Probe) -> None:
    """As asyncio.run does at its end: nothing of ours has run in it, and nobody waits for ever."""
    line.start(claimed())
    [task] = asyncio.all_tasks() - {asyncio.current_task()}
    task.cancel()
    await asyncio.wait({task}, timeout=5)
    await asyncio.wait_for(line.interrupt(), 5)
    assert (line.interrupted, line.running) == ([claimed()], 0)


async def test_a_stranger_cancels_what_runs(line: Probe) -> None:
    line.start(claimed())
    await asyncio.sleep(0)
    [task] = asyncio.all_tasks() - {asyncio.current_task()}
    task.cancel()
    await asyncio.wait_for(line.nudged.wait(), 5)
    assert (line.interrupted, line.ended, line.running) == ([claimed()], [], 0)


async def test_a_stranger_cancels_what_ends_at_the_same_moment(line: Probe) -> None:
    """It ends as its task does."""
    line.start(claimed())
    await asyncio.sleep(0)
    [task] = asyncio.all_tasks() - {asyncio.current_task()}
    line.run.on_end = task.cancel
    line.run.gate.set()
    await asyncio.wait_for(line.nudged.wait(), 5)
    assert task.cancelled()
    assert (line.interrupted, line.ended, line.running) == ([claimed()], [], 0)


async def test_of_many_all_begin_in_order(line: Probe) -> None:
    names = [f"a{number}" for number in range(200)]
    line.slots.size = 150
    line.run.gate.set()
    line.start(*map(claimed, names[:100]))
    line.start(*map(claimed, names[100:]))
    assert line.running + line.waiting == 200
    assert line.running < 100, "a few per round of the loop"
    assert line.knows("a99", 1)
    assert line.slots.room == 150 - 200, "what begins soon has its slot already"
    while len(line.ended) < 200:
        await asyncio.wait_for(line.nudged.wait(), 5)
        line.nudged.clear()
    assert line.run.begun == names
    assert line.waiting == line.running == 0


async def test_what_was_to_begin_soon_is_given_back(line: Probe) -> None:
    line.slots.size = 100
    line.start(*map(claimed, map(str, range(100))))
    begun = line.running
    assert line.slots.take(line, "99") is not None
    line.give_back_waiting()
    assert [each.action_id for each in line.interrupted] == [str(number) for number in range(begun, 99)]
    for _ in range(3):
        await asyncio.sleep(0)
    assert (line.running, line.waiting) == (begun, 0)


async def test_an_attempt_knows_nothing_of_the_one_whose_slot_it_gets(line: Probe) -> None:
    line.slots.size, line.run.mark = 1, True
    line.run.gate.set()
    line.start(claimed("a"), claimed("b"), claimed("c"))
    while len(line.ended) < 3:
        await asyncio.wait_for(line.nudged.wait(), 5)
        line.nudged.clear()
    assert line.run.marks_found == ["nobody's"] * 3


async def test_a_swallowed_cancellation_is_repeated(line: Probe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line_module, "_INSIST_S", 0.01)
    line.run.swallow = 3
    line.start(claimed())
    await asyncio.sleep(0)
    await asyncio.wait_for(line.interrupt(), 5)
    assert line.interrupted == [claimed()]


@pytest.mark.parametrize("error", [BaseException("no Exception"), None], ids=["breaks", "cancels itself"])
async def test_what_starts_when_another_breaks_off_knows_nothing_of_its_context(
    line: Probe, error: BaseException | None
) -> None:
    line.slots.size, line.run.mark, line.run.error = 1, True, error
    if error is None:
        line.run.on_end = lambda: cast("asyncio.Task[Any]", asyncio.current_task()).cancel()
    line.run.gate.set()
    line.start(*map(claimed, "abc"))
    while len(line.run.marks_found) < 3:
        line.nudged.clear()
        await asyncio.wait_for(line.nudged.wait(), 5)
    assert line.run.marks_found == ["nobody's"] * 3


@pytest.mark.parametrize(("why", "outcome"), [("cancel", Outcome.CANCELLED), ("time", Outcome.RETRY)])
async def test_what_swallows_every_cancellation_is_ended_without_its_handler(
    line: Probe, monkeypatch: pytest.MonkeyPatch, why: str, outcome: Outcome
) -> None:
    monkeypatch.setattr(line_module, "_INSIST_S", 0.01)
    line.run.swallow = 1_000_000
    line.run.limit = 0.01 if why == "time" else 100.0
    line.start(claimed())
    await asyncio.sleep(0)
    if why == "cancel":
        line.cancel("a")
    assert await line.outcomes() == [outcome]
    assert (line.running, line.overdue, len(line.given_up)) == (0, 0, 1)
    (task,) = line.given_up
    line.nudged.clear()
    line.run.limit = 100.0
    line.start(claimed())  # the next attempt of the same action, beside the first one's handler
    line.run.swallow = 0
    line.run.gate.set()
    assert await line.outcomes() == [Outcome.COMPLETED], "what the first one says counts no more"
    await asyncio.wait_for(asyncio.wait([task]), 5)
    await asyncio.sleep(0)
    assert (line.given_up, line.ended) == ([], [])


async def test_abandoned_leaves_no_outcome(line: Probe) -> None:
    line.start(claimed())
    line.ended.append(Finish(claimed("b"), Outcome.COMPLETED))
    await asyncio.sleep(0)
    line.abandon()
    assert (line.running, line.ended, line.interrupted, line.claimable) == (0, [], [], True)
    for _ in range(3):
        await asyncio.sleep(0)
    assert (line.ended, line.interrupted) == ([], [])


async def test_broken(line: Probe) -> None:
    line.run.error = GeneratorExit("left by the window")
    line.run.gate.set()
    line.start(claimed())
    await asyncio.wait_for(line.nudged.wait(), 5)
    (finish,) = line.take_ended()
    assert (finish.outcome, finish.reason) == (Outcome.DEAD, "GeneratorExit('left by the window')")


@pytest.mark.parametrize(("first_s", "then_s"), [(0.01, 60.0), (60.0, 0.01)])
async def test_of_two_claims_by_the_clock_the_earlier_comes(
    line: Probe, first_s: float, then_s: float
) -> None:
    line.claimable = False
    line.claim_in(first_s)
    line.claim_in(then_s)
    await asyncio.wait_for(line.nudged.wait(), 5)
    assert line.claimable
    assert line.wakes == 1
