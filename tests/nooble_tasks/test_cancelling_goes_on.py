"""Cancelling reaches what an action has sent also when who began it dies over it, or it is sent late."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from nooble_tasks import (
    ActionCancelled,
    BaseRedisClient,
    BaseWorker,
    DomainAction,
    ExecutionContext,
    QueueUnavailable,
    Retry,
    handles,
)
from nooble_tasks import line as line_module
from nooble_tasks._engine import Engine, State, maintenance
from nooble_tasks._engine import children as written
from nooble_tasks.children import Child
from nooble_tasks.cli.scheduler import _loops
from tests.conftest import ExpectCleanKeys
from tests.nooble_tasks.support import (
    DOMAIN,
    KEYS,
    ProbeService,
    action,
    go_over_children,
    make_client,
    soon,
    until,
    working,
)

PARENTS = KEYS.of("cancelled_parents", DOMAIN)


class Family(ProbeService):
    """Two generations wait for their next attempt; the third runs, or waits until it is due."""

    def __init__(self, client: BaseRedisClient) -> None:
        super().__init__()
        self.client = client
        self.children: list[Any] = []
        self.let_go = asyncio.Event()
        self.given_up = asyncio.Event()

    async def send(self, parent: DomainAction, verb: str, delay: float | None = None) -> Any:
        child = DomainAction(action_type=f"probe.{verb}", tenant_id=parent.tenant_id)
        self.children.append(await self.client.enqueue_action(child, delay=delay))
        return self.children[-1]

    @handles("probe.grand")
    async def grand(self, action: DomainAction, context: ExecutionContext) -> None:
        for _ in range(2):
            await self.send(action, "parent")
        raise Retry(3600)

    @handles("probe.parent")
    async def parent(self, action: DomainAction, context: ExecutionContext) -> None:
        await self.send(action, "wait")
        await self.send(action, "echo", delay=60)
        raise Retry(60)  # its deadline is that of who sent it

    @handles("probe.one")
    async def one(self, action: DomainAction) -> None:
        await self.send(action, "echo", delay=3600)
        self.started.put_nowait(action)
        await asyncio.Event().wait()

    @handles("probe.deaf")
    async def deaf(self, action: DomainAction) -> None:
        """Swallows every cancellation, is given up, and goes on sending."""
        self.started.put_nowait(action)
        while not self.let_go.is_set():
            try:
                await self.let_go.wait()
            except asyncio.CancelledError:
                pass
        await self.send(action, "echo", delay=3600)
        self.given_up.set()


async def family(client: BaseRedisClient, service: Family) -> Any:
    """All of it is there: six children, and nobody but the two innermost ones runs."""
    handle = await client.enqueue_action(action("grand"))
    await until(lambda: asyncio.sleep(0, len(service.children) == 6))
    for _ in range(2):
        await service.next_started()
    attempts = KEYS.of("attempts", DOMAIN)
    await until(lambda: all_there(client, attempts, 3))
    return handle


async def all_there(client: BaseRedisClient, key: str, many: int) -> bool:
    return await client.redis_client.hlen(key) == many


async def all_cancelled(handles: list[Any]) -> None:
    for each in handles:
        with pytest.raises(ActionCancelled):
            await each.result(10)


async def test_a_worker_goes_on_when_who_cancelled_between_two_attempts_died(
    redis: Redis, client: BaseRedisClient, expect_clean_keys: ExpectCleanKeys
) -> None:
    expect_clean_keys()
    service = Family(make_client(redis, "parent"))
    async with working(redis, service) as worker:
        handle = await family(client, service)
        assert await client.bus.engine.cancel(DOMAIN, [(handle.action_id, b"")]) == ["parent"]  # and dies
        assert await service.children[0].status() is State.SCHEDULED
        await redis.zadd(PARENTS, {handle.action_id: 0})  # some seconds later
        go_on_now(worker)
        await all_cancelled(service.children)
        await until(lambda: nothing_left(redis, handle.action_id))
        await go_over_children(client)
    await service.client.close()


def go_on_now(worker: BaseWorker) -> None:
    assert worker._maintenance is not None
    worker._maintenance._go_on_at_s = 0.0
    worker._maintenance.nudge()


async def nothing_left(redis: Redis, parent_id: str) -> bool:
    return (
        await redis.zscore(PARENTS, parent_id) is None
        and not await redis.exists(KEYS.of("children", DOMAIN, parent_id))
    )  # fmt: skip


async def test_nooble_scheduler_goes_on_where_no_worker_is(
    redis: Redis,
    client: BaseRedisClient,
    expect_clean_keys: ExpectCleanKeys,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    expect_clean_keys()
    monkeypatch.setattr(maintenance, "_GO_ON_EVERY_S", 0.0)
    parent, child = [await client.enqueue_action(action("echo"), delay=3600) for _ in range(2)]
    line = Child.of(DOMAIN, child.action).line()
    await written.adopt(client.bus.engine, DOMAIN, parent.action_id, [line])
    assert await client.bus.engine.cancel(DOMAIN, [(parent.action_id, b"")]) == ["parent"]  # and dies
    await redis.zadd(PARENTS, {parent.action_id: 0})  # some seconds later
    stopping = asyncio.Event()
    running = asyncio.create_task(_loops(client, [DOMAIN], stopping))
    await all_cancelled([child])
    await until(lambda: nothing_left(redis, parent.action_id))
    stopping.set()
    await soon(running)


@pytest.mark.parametrize("fatal", range(5))
async def test_it_may_die_at_every_step(
    redis: Redis,
    client: BaseRedisClient,
    expect_clean_keys: ExpectCleanKeys,
    monkeypatch: pytest.MonkeyPatch,
    fatal: int,
) -> None:
    """The calls: the grandparent, its two children, theirs one after the other."""
    expect_clean_keys()
    service = Family(make_client(redis, "parent"))
    async with working(redis, service):
        handle = await family(client, service)
        calls, cancel = 0, Engine.cancel

        async def dying(engine: Engine, *args: Any) -> list[str]:
            nonlocal calls
            calls += 1
            if calls > fatal:
                raise RedisConnectionError("killed")
            return await cancel(engine, *args)

        monkeypatch.setattr(Engine, "cancel", dying)
        try:
            await handle.cancel()
        except QueueUnavailable:
            pass
        monkeypatch.undo()
        assert calls == min(fatal + 1, 4)
        if not fatal:
            await handle.cancel()
        await go_over_children(client)
        await all_cancelled([handle, *service.children])
        assert (await soon(service.interrupted.get())).action_type == "probe.wait"
        await go_over_children(client)
    await service.client.close()


async def test_a_worker_may_die_over_the_children_of_what_it_ran(
    redis: Redis,
    client: BaseRedisClient,
    expect_clean_keys: ExpectCleanKeys,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    expect_clean_keys()
    service = Family(make_client(redis, "parent"))

    async def dying(*_: Any) -> None:
        raise RedisConnectionError("killed")

    async with working(redis, service):
        handle = await client.enqueue_action(action("one"))
        await service.next_started()
        with monkeypatch.context() as patch:
            patch.setattr("nooble_tasks.children.cancel_children", dying)
            await handle.cancel()
            await all_cancelled([handle])
        assert await service.children[0].status() is State.SCHEDULED
        await go_over_children(client)
        await all_cancelled(service.children)
    await service.client.close()


async def test_what_is_sent_after_its_sender_was_cancelled_is_cancelled(
    redis: Redis,
    client: BaseRedisClient,
    expect_clean_keys: ExpectCleanKeys,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its handler was deaf and given up, and sends even so."""
    expect_clean_keys()
    monkeypatch.setattr(line_module, "_INSIST_S", 0.01)
    service = Family(make_client(redis, "parent"))
    async with working(redis, service):
        handle = await client.enqueue_action(action("deaf"))
        await service.next_started()
        await handle.cancel()
        await all_cancelled([handle])
        service.let_go.set()
        await soon(service.given_up.wait())
        await all_cancelled(service.children)
    assert not await redis.exists(KEYS.of("parents", DOMAIN))
    await service.client.close()


async def test_what_is_sent_by_who_lost_an_action_that_was_cancelled_since_is_cancelled(
    redis: Redis, client: BaseRedisClient, expect_clean_keys: ExpectCleanKeys
) -> None:
    """Its worker was taken for dead; by the time it sends somebody has cancelled the action in its line."""
    expect_clean_keys()
    service = Family(make_client(redis, "parent"))
    async with working(redis, service) as worker:
        handle = await client.enqueue_action(action("deaf"))
        await service.next_started()
        engine = client.bus.engine
        await client.operator.pause("domain", by="ana", domains=[DOMAIN])
        assert (await engine.reclaim(DOMAIN, worker_id=worker.worker_id)).actions == 1
        assert await handle.cancel()
        await all_cancelled([handle])
        service.let_go.set()
        await soon(service.given_up.wait())
        await all_cancelled(service.children)
        await client.operator.resume("domain", by="ana", domains=[DOMAIN])
    await service.client.close()


async def test_what_is_sent_by_an_action_that_ended_otherwise_stays(
    redis: Redis, client: BaseRedisClient, expect_clean_keys: ExpectCleanKeys
) -> None:
    expect_clean_keys()
    sent: list[Any] = []
    service = Family(make_client(redis, "parent"))

    class Busy(ProbeService):
        @handles("probe.busy")
        async def busy(self, action: DomainAction) -> None:
            async def later() -> None:
                await self.gate.wait()
                child = DomainAction(action_type="probe.echo", tenant_id=action.tenant_id, data="ran")
                sent.append(await service.client.enqueue_action(child))

            self.later = asyncio.create_task(later())

    busy = Busy()
    async with working(redis, busy):
        await (await client.enqueue_action(action("busy"))).result(10)
        busy.gate.set()
        await busy.later
        assert await sent[0].result(10) == "ran"
    await service.client.close()


async def test_a_record_that_says_nothing_keeps_no_other_from_being_cancelled(
    redis: Any, client: BaseRedisClient
) -> None:
    """Somebody else wrote it: what stands behind it is reached, and it is not tried again for ever."""
    sent = []
    for parent in ("p1", "p2"):
        sent.append(await client.enqueue_action(action("echo"), delay=3600))
        lines = [b"no child", b"\xff", Child.of(DOMAIN, sent[-1].action).line()]
        await redis.rpush(KEYS.of("children", DOMAIN, parent), *lines)
        await redis.zadd(PARENTS, {parent: 0})
    await go_over_children(client)
    assert not await redis.exists(PARENTS, *(KEYS.of("children", DOMAIN, parent) for parent in ("p1", "p2")))
    await all_cancelled(sent)
