"""Turns over an engine under the test's control: wake-ups in between, answers that come late or never."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any, cast

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from nooble_tasks import turns as turns_module
from nooble_tasks._engine import Claim, Claimed, Finish, Keys, ManualClock, Outcome, SchedulerError
from nooble_tasks.line import Line
from nooble_tasks.slots import Slots
from nooble_tasks.turns import LARGE_BYTES, Turns
from tests.nooble_tasks.answering import Awaited, Told

NOTHING = Claim([], 0, False)


def claimed(name: str) -> Claimed:
    return Claimed(name, "probe.x", "acme", "enterprise", b"", 1, 1, 0, 0, 0, "", "", False)


class FakeExecutor:
    def limit_s(self, claimed: Claimed) -> float:
        return 100.0

    async def run(self, claimed: Claimed, limit_s: float) -> Finish:
        await asyncio.Event().wait()
        raise AssertionError("never")


class FakeEngine:
    """Answers when the test says so."""

    lease_ms = 15_000
    policy_version = 0

    def __init__(self, answer_of: Callable[[asyncio.Future[Any], int], Awaited]) -> None:
        self.answer_of = answer_of
        self.clock = ManualClock()
        self.keys = Keys()
        self.redis = self
        self.owned: dict[bytes, bytes] = {}
        self.execute_together = None  # as the shared connection has it
        self.released: list[str] = []
        self.retired: list[str] = []
        self.asked: asyncio.Queue[tuple[str, list[Finish], int, asyncio.Future[Any]]] = asyncio.Queue()

    def finish_and_claim(self, domain: str, worker: str, finishes: list[Finish], slots: int) -> Any:
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.asked.put_nowait((worker, finishes, slots, future))
        return self.answer_of(future, len(finishes))

    async def hgetall(self, key: str) -> dict[bytes, bytes]:
        return dict(self.owned)

    async def release(self, domain: str, worker: str, actions: list[Claimed], begun: Any = ()) -> int:
        self.released += [each.action_id for each in actions]
        return len(actions)

    async def retire(self, domain: str, worker: str) -> bool:
        self.retired.append(domain)
        return True


class Table:
    def __init__(self, answer_of: Callable[[asyncio.Future[Any], int], Awaited]) -> None:
        self.engine = FakeEngine(answer_of)
        self.worker_id = "w1"
        self.lost: list[str] = []
        self.followed: list[int] = []
        self.follow_fails: Exception | None = None
        self.nudged = asyncio.Event()
        self.slots = Slots(10)
        self.line = Line("probe", cast(Any, FakeExecutor()), self.nudged.set, self.slots)
        self.turns = self.make_turns()

    def make_turns(self) -> Turns:
        return Turns(
            cast(Any, self.engine),
            self.slots,
            follow=self.follow,
            worker_id=lambda: self.worker_id,
            nudge=self.nudged.set,
            on_lost=self.lost.append,
            logger=logging.getLogger("nooble_tasks.turns"),
        )

    async def follow(self, domain: str, version: int) -> None:
        self.followed.append(version)
        if self.follow_fails is not None:
            raise self.follow_fails
        self.engine.policy_version = version

    async def asked(self) -> tuple[str, list[Finish], int, asyncio.Future[Any]]:
        assert self.turns.begin(quiet=False)
        return await asyncio.wait_for(self.engine.asked.get(), 5)

    async def answer(self, future: asyncio.Future[Any], claim: Claim | Exception) -> None:
        if isinstance(claim, Exception):
            future.set_exception(claim)
        else:
            future.set_result(claim)
        await self.turns.settle()


@pytest.fixture(params=[Awaited, Told])
async def table(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Table]:
    monkeypatch.setattr(turns_module, "_BACKOFF_S", (0.0,))
    table = Table(request.param)
    yield table
    table.line.forget_timer()
    await table.line.interrupt()


async def test_a_claim_that_found_nothing_ends_the_asking(table: Table) -> None:
    *_, future = await table.asked()
    assert not table.turns.begin(quiet=False), "one claim at a time tells whether there is something"
    await table.answer(future, NOTHING)
    assert not table.turns.begin(quiet=False)
    assert table.turns.idle


async def test_a_wake_up_during_a_claim_is_not_lost(table: Table) -> None:
    *_, future = await table.asked()
    table.line.wake()
    await table.answer(future, NOTHING)
    assert table.line.claimable
    *_, future = await table.asked()
    await table.answer(future, NOTHING)
    assert not table.line.claimable


async def test_it_claims_again_when_something_falls_due(table: Table) -> None:
    *_, future = await table.asked()
    await table.answer(future, Claim([], table.engine.clock.now_ms() + 1, False))
    table.nudged.clear()
    await asyncio.wait_for(table.nudged.wait(), 5)
    assert table.line.claimable


async def test_never_more_slots_than_are_free(table: Table) -> None:
    *_, slots, first = await table.asked()
    await table.answer(first, Claim([claimed(f"a{n}") for n in range(slots)], 0, True))
    *_, slots_2, second = await table.asked()
    assert (slots, slots_2, table.line.running) == (5, 5, 5)
    assert not table.turns.begin(quiet=False), "all slots are taken or asked for"
    await table.answer(second, Claim([claimed("b1"), claimed("b2")], 0, False))
    table.line.wake()
    *_, slots_3, third = await table.asked()
    assert slots_3 == 3
    await table.answer(third, NOTHING)


async def test_on_connections_of_their_own_turns_follow_one_another(table: Table) -> None:
    """Their answers could come in any order, and what was sent first is to start first."""
    del table.engine.execute_together
    turns = table.make_turns()
    assert turns.begin(quiet=False)
    *_, slots, future = await table.engine.asked.get()
    assert slots == 10
    table.line.plenty = True
    assert not turns.begin(quiet=False)
    future.set_result(NOTHING)
    await turns.settle()


async def test_large_answers_come_one_at_a_time_and_the_next_is_asked_for_before_they_run(
    table: Table,
) -> None:
    """The server writes little of an answer before it runs what else it was asked: both came together."""
    running: list[int] = []
    table.turns = Turns(
        cast(Any, table.engine),
        table.slots,
        follow=table.follow,
        worker_id=lambda: table.worker_id,
        nudge=lambda: running.append(table.line.running),
        on_lost=table.lost.append,
        logger=logging.getLogger("nooble_tasks.turns"),
    )

    def claim(size: int) -> Claim:
        return Claim([claimed(f"{size}-{n}")._replace(payload=b"x" * size) for n in range(2)], 0, True)

    *_, first = await table.asked()
    await table.answer(first, claim(LARGE_BYTES // 2 + 1))
    assert running[0] == 0, "nothing of it had begun when the next turn could"
    *_, second = await table.asked()
    assert not table.turns.begin(quiet=False), "one at a time, though there are slots and work"
    await table.answer(second, claim(10))
    *_, third = await table.asked()
    *_, fourth = await table.asked()
    third.set_result(NOTHING)
    await table.answer(fourth, NOTHING)


async def test_what_was_claimed_later_waits_while_another_policy_is_loaded(
    table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By then somebody else may have loaded it."""
    loading, loaded = asyncio.Event(), asyncio.Event()

    async def follow(domain: str, version: int) -> None:
        table.engine.policy_version = version
        loading.set()
        await loaded.wait()

    table.follow = follow  # type: ignore[method-assign]
    table.turns = table.make_turns()
    *_, first = await table.asked()
    await table.answer(first, Claim([], 0, True))
    *_, first = await table.asked()
    *_, second = await table.asked()
    first.set_result(Claim([claimed("first")], 0, True, policy_version=5))
    await asyncio.wait_for(loading.wait(), 5)
    second.set_result(Claim([claimed("second")], 0, True, policy_version=5))
    for _ in range(10):
        await asyncio.sleep(0)
    assert table.line.running == 0
    started: list[str] = []
    monkeypatch.setattr(table.line, "start", lambda each: started.append(each.action_id))
    loaded.set()
    await table.turns.settle()
    assert started == ["first", "second"]


async def test_quiet_claims_nothing(table: Table) -> None:
    assert not table.turns.begin(quiet=True)


@pytest.mark.parametrize("error", [RedisConnectionError("gone"), OSError("gone"), SchedulerError("no")])
async def test_outcomes_are_handed_in_again_after_an_error(table: Table, error: Exception) -> None:
    finish = Finish(claimed("a"), Outcome.COMPLETED)
    table.line.ended.append(finish)
    *_, future = await table.asked()
    assert not table.line.ended
    await table.answer(future, error)
    assert table.line.ended == [finish]
    assert table.turns.failing
    assert table.turns.begin(quiet=False), "it looks first what the lost answer has brought"
    await table.turns.settle()
    _, finishes, _, future = await table.asked()
    assert finishes == [finish]
    await table.answer(future, NOTHING)
    assert not table.turns.failing


async def test_what_came_with_a_lost_answer_is_given_back(table: Table) -> None:
    *_, first = await table.asked()
    await table.answer(first, Claim([claimed("known")], 0, False))
    table.line.ended.append(Finish(claimed("ended"), Outcome.COMPLETED))
    table.line.wake()
    *_, future = await table.asked()
    await table.answer(future, RedisConnectionError("gone"))
    table.engine.owned = dict.fromkeys((b"known", b"ended", b"stranger"), record(claimed("any").token))
    assert table.turns.begin(quiet=True), "also when quiet"
    await table.turns.settle()
    assert table.engine.released == ["stranger"]


async def test_what_was_handed_in_and_taken_again_in_one_lost_answer_is_given_back(table: Table) -> None:
    """The outcome that is handed in once more is an earlier claim's: it does not stand for the new one."""
    again = claimed("again")
    table.line.ended.append(Finish(again, Outcome.RETRY))
    *_, future = await table.asked()
    await table.answer(future, RedisConnectionError("gone"))
    table.engine.owned = {b"again": record(again.token + 1)}
    assert table.turns.begin(quiet=True)
    await table.turns.settle()
    assert table.engine.released == ["again"]


def record(token: int) -> bytes:
    """What the server keeps of an owned action."""
    return b"%d acme:enterprise 1-1 1 0" % token


async def test_a_lost_lease_is_told(table: Table) -> None:
    *_, future = await table.asked()
    await table.answer(future, Claim([], 0, False, lost=True))
    assert table.lost == ["probe"]


@pytest.mark.parametrize("late", [Claim([], 0, False, lost=True), Claim([claimed("a")], 0, True)])
async def test_an_answer_to_an_earlier_registration_is_not_believed(table: Table, late: Claim) -> None:
    *_, future = await table.asked()
    table.worker_id = "w2"
    await table.answer(future, late)
    assert (table.lost, table.line.running) == ([], 0)


async def test_what_a_claim_brings_after_its_lease_was_lost_does_not_start(table: Table) -> None:
    """The heartbeat may know it first, and joining under a fresh id takes a while."""
    table.line.ended.append(Finish(claimed("ended"), Outcome.COMPLETED))
    *_, future = await table.asked()
    table.line.abandon()
    await table.answer(future, Claim([claimed("a")], 0, True))
    assert table.line.running == 0
    *_, future = await table.asked()
    table.line.abandon()
    await table.answer(future, RedisConnectionError("gone"))
    assert (table.line.ended, table.line.unsure) == ([], False)


async def test_what_a_claim_brings_after_others_were_given_back_follows_them(table: Table) -> None:
    """They were before it in their tenant's line."""
    *_, future = await table.asked()
    table.line.give_back([claimed("a")])
    await table.answer(future, Claim([claimed("b")], 0, True))
    assert table.line.running == 0
    assert table.turns.begin(quiet=False)
    await table.turns.settle()
    assert table.engine.released == ["a", "b"]


async def test_who_leaves_in_doubt_looks_first_what_it_owns(table: Table) -> None:
    """Else it would be taken back as from a dead worker: after the lease, and an attempt spent."""
    *_, future = await table.asked()
    await table.answer(future, RedisConnectionError("gone"))
    table.engine.owned = {b"stranger": record(1)}
    await table.turns.leave()
    assert table.engine.released == ["stranger"]
    assert table.engine.retired == ["probe"]
