"""A worker that holds a few actions more than it has slots: they start at once, and nothing is lost or spent.

How many is decided by the test here; by which rule otherwise: `test_lookahead.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from redis.asyncio import Redis

from nooble_tasks import (
    ActionCancelled,
    ActionExpired,
    ActionHandle,
    BaseRedisClient,
    BaseWorker,
    CommonAppSettings,
    DomainAction,
    ExecutionContext,
    handles,
)
from nooble_tasks import slots as slots_module
from nooble_tasks._engine import State
from nooble_tasks.lookahead import Lookahead
from tests.conftest import ExpectCleanKeys
from tests.nooble_tasks.support import ProbeService, action, settings_for, soon, until, working

SLOTS = 2


class Ahead(Lookahead):
    """As many as the test says, until it turns out to be wrong."""

    def __init__(self, most: int) -> None:
        super().__init__(SLOTS)
        self.asked_for = most
        self.run_times_s: list[float] = []
        self.turns = 0
        self.misjudgements = 0

    @property
    def most(self) -> int:
        return 0 if self.misjudgements else self.asked_for

    def ended(self, run_time_s: float) -> None:
        self.run_times_s.append(run_time_s)

    def turned(self, turn_s: float) -> None:
        self.turns += 1

    def misjudged(self) -> None:
        self.misjudgements += 1


class StepService(ProbeService):
    """`step` starts, and ends when the test lets one end."""

    def __init__(self) -> None:
        super().__init__()
        self.order: list[Any] = []
        self.begun: asyncio.Queue[Any] = asyncio.Queue()
        self.steps = asyncio.Semaphore(0)

    def let_go(self) -> None:
        """Let all of them end, now and later."""
        for _ in range(1_000):
            self.steps.release()

    @handles("probe.step")
    async def step(self, data: Any, action: DomainAction, context: ExecutionContext) -> Any:
        self._note(action)
        self.attempts.append(context.attempt)
        self.order.append(data)
        self.begun.put_nowait(data)
        await self.steps.acquire()
        return data


@asynccontextmanager
async def ahead(
    redis: Redis,
    service: ProbeService,
    most: int = 2,
    settings: CommonAppSettings | None = None,
    **options: Any,
) -> AsyncIterator[BaseWorker]:
    """A worker of two slots that claims `most` ahead."""
    async with working(redis, service, concurrency=SLOTS, settings=settings, **options) as worker:
        worker._slots.lookahead = Ahead(most)
        yield worker


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is given back for lack of a slot unless the test is about that."""
    monkeypatch.setattr(slots_module, "LOOK_S", 60.0)


async def send(client: BaseRedisClient, count: int, **fields: Any) -> list[ActionHandle]:
    return await client.enqueue_actions([action("step", n, **fields) for n in range(count)])


async def holds(worker: BaseWorker, running: int, waiting: int) -> None:
    await until(
        lambda: asyncio.sleep(0, (worker.running, worker.waiting) == (running, waiting)),
        f"{running} running and {waiting} waiting",
    )


async def run_by_another(redis: Redis, handles: list[ActionHandle]) -> StepService:
    other = StepService()
    other.let_go()
    async with working(redis, other, concurrency=1):
        for handle in handles:
            await handle.result(10)
    return other


async def test_a_freed_slot_starts_the_next_without_a_turn(
    redis: Redis, client: BaseRedisClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = StepService()
    async with ahead(redis, service, grace_s=10) as worker:
        sent = await send(client, 6)
        await holds(worker, 2, 2)
        engine = worker.bus.engine
        turn, redis_answers = engine.finish_and_claim, asyncio.Event()

        async def slowly(*arguments: Any) -> Any:
            await redis_answers.wait()
            return await turn(*arguments)

        monkeypatch.setattr(engine, "finish_and_claim", slowly)
        for number in range(4):
            assert await soon(service.begun.get()) == number
            service.steps.release()
        await holds(worker, 0, 0)
        redis_answers.set()
        service.let_go()
        assert [await each.result(10) for each in sent] == list(range(6))
        assert isinstance(worker._slots.lookahead, Ahead)
        assert len(worker._slots.lookahead.run_times_s) == 6
        assert worker._slots.lookahead.turns > 0


async def test_nothing_is_claimed_ahead_of_handlers_that_are_not_known_to_be_short(
    redis: Redis, client: BaseRedisClient
) -> None:
    service = StepService()
    async with working(redis, service, concurrency=SLOTS) as worker:
        sent = await send(client, 10)
        for ended in range(5):
            await holds(worker, 2, 0)
            states = [await each.status() for each in sent]
            assert states.count(State.RUNNING) == 2, f"after {ended}"
            service.steps.release()
            await sent[ended].result(10)


@pytest.mark.parametrize("most", [0, 1, 2])
async def test_the_order_of_a_tenant_stays(redis: Redis, client: BaseRedisClient, most: int) -> None:
    service = StepService()
    service.let_go()
    async with ahead(redis, service, most):
        sent = await send(client, 200)
        await sent[-1].result(10)
    assert service.order == list(range(200))


async def test_a_better_tier_waits_for_no_more_than_was_claimed_ahead(
    redis: Redis, client: BaseRedisClient
) -> None:
    service = StepService()
    async with ahead(redis, service) as worker:
        await send(client, 9, tenant_tier="free")
        await holds(worker, 2, 2)
        urgent = await client.enqueue_action(action("step", "urgent"))
        service.let_go()
        await urgent.result(10)
    assert service.order.index("urgent") <= 4


async def test_a_stop_gives_back_what_waits_unspent(
    redis: Redis, client: BaseRedisClient, expect_clean_keys: ExpectCleanKeys
) -> None:
    expect_clean_keys()
    service = StepService()
    async with ahead(redis, service) as worker:
        sent = await send(client, 5)
        await holds(worker, 2, 2)
    assert service.order == [0, 1]
    assert [await each.status() for each in sent] == [State.READY] * 5
    other = await run_by_another(redis, sent)
    assert (other.order, other.attempts) == ([0, 1, 2, 3, 4], [1] * 5)


@pytest.mark.parametrize("way_out", ["quiet", "drain", "stop"])
async def test_it_is_given_back_at_once_when_the_worker_claims_no_more(
    redis: Redis, client: BaseRedisClient, way_out: str
) -> None:
    service = StepService()
    async with ahead(redis, service) as worker:
        sent = await send(client, 4)
        await holds(worker, 2, 2)
        getattr(worker.phase, way_out)()
        await holds(worker, 2, 0)

        async def given_back() -> bool:
            return [await each.status() for each in sent[2:]] == [State.READY] * 2

        await until(given_back)
        service.let_go()
        worker.phase.stop(0)


async def test_what_waits_can_be_cancelled_and_expires(redis: Redis, client: BaseRedisClient) -> None:
    service = StepService()
    async with ahead(redis, service, most=3, grace_s=10) as worker:
        first = await send(client, 2)
        await holds(worker, 2, 0)
        cancelled = await client.enqueue_action(action("step", "cancelled"))
        expiring = await client.enqueue_action(action("step", "expiring"), deadline=0.3)
        left = await client.enqueue_action(action("step", "left"))
        await holds(worker, 2, 3)
        await cancelled.cancel()
        with pytest.raises(ActionCancelled):
            await cancelled.result(10)
        now_ms = client.bus.clock.now_ms

        async def passed() -> bool:
            await redis.ping()
            return now_ms() > expiring.action.deadline.timestamp() * 1000 + 1  # type: ignore[union-attr]

        await until(passed)
        for _ in range(3):
            service.steps.release()
        with pytest.raises(ActionExpired):
            await expiring.result(10)
        assert [await each.result(10) for each in (*first, left)] == [0, 1, "left"]
    assert service.order == [0, 1, "left"]


async def test_a_lost_lease_forgets_what_waits_and_it_runs_again(
    redis: Redis, client: BaseRedisClient
) -> None:
    """What a worker killed with -9 leaves behind comes back in the same way."""
    await client.close()
    service, settings = StepService(), settings_for(lease_s=1)
    async with ahead(redis, service, settings=settings, maintain=False) as worker:
        sent = await send(worker.redis_client, 4)
        await holds(worker, 2, 2)
        engine, old = worker.bus.engine, worker.worker_id
        assert (await engine.reclaim("probe", worker_id=old)).actions == 4
        await until(lambda: asyncio.sleep(0, worker.worker_id != old), "a fresh registration")
        service.let_go()
        assert [await soon(each.result(10)) for each in sent] == [0, 1, 2, 3]
        await worker.redis_client.close()
    assert worker.waiting == 0
    assert service.order == [0, 1, 0, 1, 2, 3]


async def test_what_no_slot_becomes_free_for_is_given_back_first_in_line(
    redis: Redis, client: BaseRedisClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slots_module, "LOOK_S", 0.01)
    service = StepService()
    async with ahead(redis, service) as worker:
        sent = await send(client, 6)
        await holds(worker, 2, 0)
        assert isinstance(worker._slots.lookahead, Ahead)
        await until(lambda: asyncio.sleep(0, worker._slots.lookahead.misjudgements == 1))  # type: ignore[attr-defined]

        async def given_back() -> bool:
            return [await each.status() for each in sent[2:]] == [State.READY] * 4

        await until(given_back)
        other = await run_by_another(redis, sent[2:])
        assert (other.order, other.attempts) == ([2, 3, 4, 5], [1] * 4)


async def test_a_handler_without_room_keeps_no_slot_from_the_others(
    redis: Redis, client: BaseRedisClient
) -> None:
    class Narrow(StepService):
        @handles("probe.narrow", concurrency=1)
        async def narrow(self, data: Any) -> Any:
            self.begun.put_nowait(data)
            await self.gate.wait()
            return data

    service = Narrow()
    async with ahead(redis, service, most=4, grace_s=10) as worker:
        names = ["n1", "s1", "n2", "s2"]
        sent = await client.enqueue_actions(
            [action("narrow" if each[0] == "n" else "step", each) for each in names]
        )
        await holds(worker, 2, 2)
        service.steps.release()  # s1 ends: n2 has no room, s2 has
        assert {await soon(service.begun.get()) for _ in range(3)} == {"n1", "s1", "s2"}
        service.gate.set()
        service.steps.release()
        assert [await each.result(10) for each in sent] == names


async def test_who_gave_back_takes_it_again_when_a_slot_is_free(
    redis: Redis, client: BaseRedisClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody else may be there to be woken for it."""
    monkeypatch.setattr(slots_module, "LOOK_S", 0.01)
    service = StepService()
    async with ahead(redis, service, most=2, maintain=False, grace_s=10) as worker:
        sent = await send(client, 3)
        assert isinstance(worker._slots.lookahead, Ahead)
        await until(lambda: asyncio.sleep(0, worker._slots.lookahead.misjudgements == 1))  # type: ignore[attr-defined]

        async def given_back() -> bool:
            return await sent[2].status() is State.READY

        await until(given_back)
        service.let_go()
        assert [await each.result(10) for each in sent] == [0, 1, 2]
