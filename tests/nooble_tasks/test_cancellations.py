"""Cancelling from anywhere: by id, by filter, from the command line."""

from __future__ import annotations

import json

import pytest
from redis.asyncio import Redis

from nooble_tasks import ActionCancelled, BaseRedisClient, InvalidAction
from nooble_tasks._engine import State
from tests.conftest import ExpectCleanKeys
from tests.nooble_tasks.looking import Nooble
from tests.nooble_tasks.support import DOMAIN, ProbeService, action, working


@pytest.fixture
async def served(client: BaseRedisClient) -> BaseRedisClient:
    await client.bus.engine.publish_policy(DOMAIN)
    return client


async def test_one_by_its_id_alone(served: BaseRedisClient, expect_clean_keys: ExpectCleanKeys) -> None:
    expect_clean_keys()
    handle = await served.enqueue_action(action("echo"))
    assert await served.cancellations.one(handle.action_id)
    with pytest.raises(ActionCancelled):
        await handle.result(5)
    assert not await served.cancellations.one(handle.action_id)
    assert not await served.cancellations.one("never-seen", domain=DOMAIN)


async def test_many_by_tenant_type_and_tier(
    redis: Redis, served: BaseRedisClient, probe: ProbeService
) -> None:
    async with working(redis, probe, concurrency=1):
        running = await served.enqueue_action(action("wait"))
        await probe.next_started()
        waiting = await served.enqueue_actions([action("echo", n) for n in range(1200)])
        later = await served.enqueue_action(action("echo"), delay=3600)
        other_type = await served.enqueue_action(action("fail"))
        other_tenant = await served.enqueue_action(action("echo", tenant_id="beta"))
        seen: list[int] = []
        report = await served.cancellations.many(
            tenant_id="acme", action_type="probe.echo", on_progress=lambda so_far: seen.append(sum(so_far))
        )
        assert report == (1201, 0, 0)
        assert len(seen) > 1
        assert seen == sorted(seen)
        assert seen[-1] == 1201
        assert await later.status() is await waiting[7].status() is State.CANCELLED
        with pytest.raises(ActionCancelled):
            await waiting[-1].result(5)
        assert await other_type.status() is await other_tenant.status() is State.READY
        assert await served.cancellations.many(tenant_id="acme", tier="free") == (0, 0, 0)
        assert await served.cancellations.many(domains=[DOMAIN], everything=True) == (2, 1, 0)
        with pytest.raises(ActionCancelled):
            await running.result(10)


async def test_a_filter_must_be_said_and_be_possible(served: BaseRedisClient) -> None:
    with pytest.raises(InvalidAction, match="say which actions"):
        await served.cancellations.many()
    with pytest.raises(InvalidAction):
        await served.cancellations.many(tenant_id="a*")
    with pytest.raises(InvalidAction):
        await served.cancellations.one("a b")


async def test_the_command(served: BaseRedisClient, nooble: Nooble) -> None:
    one = await served.enqueue_action(action("echo"))
    await served.enqueue_actions([action("echo", n) for n in range(3)])
    assert (await nooble("cancel")).code == 2
    assert (await nooble("cancel", one.action_id, "--all")).code == 2
    done = await nooble("cancel", one.action_id)
    assert (done.code, done.text) == (0, f"{one.action_id}: cancelled")
    assert (await nooble("cancel", one.action_id)).code == 1
    assert (await nooble("cancel", "--tenant", "acme")).code == 2, "nobody can be asked"
    many = await nooble("cancel", "--tenant", "acme", "--yes", "--json")
    assert json.loads(many.out) == {"cancelled": 3, "told": 0, "over": 0}
