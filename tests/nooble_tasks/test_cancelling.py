"""Cancelling survives its worker, and reaches what the cancelled action has sent."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from redis.asyncio import Redis

from nooble_tasks import (
    ActionCancelled,
    BaseRedisClient,
    BaseService,
    DomainAction,
    ExecutionContext,
    Retry,
    handles,
)
from nooble_tasks._engine import State
from tests.conftest import ExpectCleanKeys
from tests.nooble_tasks.support import (
    AT_ONCE,
    DOMAIN,
    KEYS,
    ProbeService,
    action,
    go_over_children,
    make_client,
    settings_for,
    soon,
    until,
    working,
)

ASKED = KEYS.of("cancel_asked", DOMAIN)


class ParentService(ProbeService):
    def __init__(self, client: BaseRedisClient) -> None:
        super().__init__()
        self.client = client
        self.children: list[Any] = []

    @handles("probe.parent")
    async def parent(self, data: int, action: DomainAction) -> None:
        """Sends a child that runs, and one that waits; with data above 0 the child is a parent itself."""
        if data:
            child = DomainAction(action_type="probe.parent", tenant_id=action.tenant_id, data=data - 1)
        else:
            child = DomainAction(action_type="probe.wait", tenant_id=action.tenant_id)
        self.children.append(await self.client.enqueue_action(child))
        later = DomainAction(action_type="probe.echo", tenant_id=action.tenant_id)
        self.children.append(await self.client.enqueue_action(later, delay=3600))
        await asyncio.Event().wait()


async def test_cancelling_a_parent_cancels_its_children_and_theirs(
    redis: Redis, client: BaseRedisClient, expect_clean_keys: ExpectCleanKeys
) -> None:
    expect_clean_keys()
    service = ParentService(make_client(redis, "parent"))
    async with working(redis, service):
        handle = await client.enqueue_action(action("parent", 2))
        await service.next_started()  # the innermost child runs
        await until(lambda: asyncio.sleep(0, len(service.children) == 6))
        stranger = await client.enqueue_action(action("wait", "stays"))
        await service.next_started()
        assert await handle.cancel()
        with pytest.raises(ActionCancelled):
            await handle.result(10)
        for child in service.children:
            with pytest.raises(ActionCancelled):
                await child.result(10)
        assert await stranger.status() is State.RUNNING
        service.gate.set()
        assert await stranger.result(10) == "stays"
    await go_over_children(client)
    await service.client.close()


async def test_children_of_an_attempt_that_ran_out_of_time_go_on_until_somebody_cancels(
    redis: Redis, client: BaseRedisClient, expect_clean_keys: ExpectCleanKeys
) -> None:
    expect_clean_keys()
    children: list[Any] = []
    own = make_client(redis, "parent")

    class Hasty(ProbeService):
        @handles("probe.hasty", timeout=0.2)
        async def hasty(self, action: DomainAction) -> None:
            child = DomainAction(action_type="probe.echo", tenant_id=action.tenant_id, data="kept")
            children.append(await own.enqueue_action(child, delay=3600))
            await asyncio.Event().wait()

    async with working(redis, Hasty()):
        handle = await client.enqueue_action(action("hasty"))
        await until(lambda: asyncio.sleep(0, len(children) >= 2))  # it is tried again
        assert await children[0].status() is State.SCHEDULED
        await handle.cancel()
        for each in (handle, *children):
            with pytest.raises(ActionCancelled):
                await each.result(10)
    await go_over_children(client)
    await own.close()


class RepeatingParent(ParentService):
    """Its first attempt sends a child, and asks for another attempt; that one sends nothing, and runs."""

    @handles("probe.repeating")
    async def repeating(self, data: float, action: DomainAction, context: ExecutionContext) -> None:
        if context.attempt == 1:
            child = DomainAction(action_type="probe.wait", tenant_id=action.tenant_id)
            self.children.append(await self.client.enqueue_action(child))
            await self.next_started()
            raise Retry(data)
        self.started.put_nowait(action)
        await asyncio.Event().wait()


@pytest.mark.parametrize("between", [True, False])
async def test_a_child_of_an_earlier_attempt_is_reached(
    redis: Redis, client: BaseRedisClient, expect_clean_keys: ExpectCleanKeys, between: bool
) -> None:
    """Between two attempts no worker has the parent: who cancels it looks after what it has sent."""
    expect_clean_keys()
    service = RepeatingParent(make_client(redis, "parent"))
    async with working(redis, service):
        handle = await client.enqueue_action(action("repeating", 3600 if between else 0))
        if between:
            await until(lambda: client.bus.redis.hexists(KEYS.of("attempts", DOMAIN), handle.action_id))
        else:
            await service.next_started()
        assert await handle.cancel()
        for each in (handle, service.children[0]):
            with pytest.raises(ActionCancelled):
                await each.result(10)
        assert (await soon(service.interrupted.get())).action_id == service.children[0].action_id
        assert await client.cancellations.many(everything=True) == (0, 0, 0)
    await go_over_children(client)
    await service.client.close()


async def test_a_childs_children_of_earlier_attempts_are_reached_from_afar(
    redis: Redis, client: BaseRedisClient, expect_clean_keys: ExpectCleanKeys
) -> None:
    """Nobody runs any more; by filter, and through two generations that wait for their next attempt."""
    expect_clean_keys()

    class Grandparent(RepeatingParent):
        @handles("probe.grand")
        async def grand(self, action: DomainAction) -> None:
            child = DomainAction(action_type="probe.repeating", tenant_id=action.tenant_id, data=60.0)
            self.children.append(await self.client.enqueue_action(child))
            raise Retry(3600)

    service = Grandparent(make_client(redis, "parent"))
    async with working(redis, service) as worker:
        handle = await client.enqueue_action(action("grand"))
        attempts = KEYS.of("attempts", DOMAIN)
        await until(lambda: asyncio.sleep(0, len(service.children) == 2))
        await until(lambda: client.bus.redis.hexists(attempts, service.children[0].action_id))
        await worker.stop(0)
    report = await client.cancellations.many(action_type="probe.grand")
    assert report.cancelled == 1
    for each in (handle, *service.children):
        with pytest.raises(ActionCancelled):
            await each.result(10)
    await go_over_children(client)
    await service.client.close()


async def test_what_was_to_be_cancelled_is_not_run_by_the_next_worker(
    redis: Redis, client: BaseRedisClient, probe: ProbeService, expect_clean_keys: ExpectCleanKeys
) -> None:
    expect_clean_keys()
    engine = client.bus.engine
    handle = await client.enqueue_action(action("wait"))
    await engine.publish_policy(DOMAIN)
    await engine.extend(DOMAIN, "doomed", register=True)
    assert len((await engine.claim(DOMAIN, "doomed", 1)).actions) == 1
    assert await handle.cancel()  # its worker would be told, but it is dead already
    assert (await engine.reclaim(DOMAIN, worker_id="doomed")).actions == 1
    assert await redis.sismember(ASKED, handle.action_id)  # type: ignore[misc]
    async with working(redis, probe):
        with pytest.raises(ActionCancelled):
            await handle.result(10)
        assert await handle.status() is State.CANCELLED
    assert not probe.calls
    assert not await redis.exists(ASKED)


async def test_what_was_to_be_cancelled_is_not_tried_again(redis: Redis, client: BaseRedisClient) -> None:
    class Rescued(ProbeService):
        retry_policy = AT_ONCE

        @handles("probe.again")
        async def again(self, action: DomainAction) -> None:
            self._note(action)
            self.started.put_nowait(action)
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                raise Retry(0) from None  # the handler has its own idea

    service = Rescued()
    async with working(redis, service):
        handle = await client.enqueue_action(action("again"))
        await service.next_started()
        await handle.cancel()
        with pytest.raises(ActionCancelled):
            await soon(handle.result(10))
    assert len(service.calls) == 1


async def test_an_action_that_ends_all_the_same_leaves_no_mark(
    redis: Redis, client: BaseRedisClient, probe: ProbeService
) -> None:
    class Calm(BaseService):
        @handles("probe.calm")
        async def calm(self) -> str:
            probe.started.put_nowait(action())
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                return "finished all the same"
            return ""

    async with working(redis, Calm(app_settings=settings_for())):
        handle = await client.enqueue_action(action("calm"))
        await probe.next_started()
        await handle.cancel()
        assert await handle.result(10) == "finished all the same"
    assert not await redis.exists(ASKED)
