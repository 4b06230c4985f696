"""A server at its memory limit refuses new work; everything that ends work still goes through."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import OutOfMemoryError

from scheduler import Outcome, overrides, pauses
from tests.scheduler.world import MINUTE, NOW, World, ids, new, some


@asynccontextmanager
async def no_memory(world: World) -> AsyncIterator[None]:
    kept = (await world.redis.config_get("maxmemory-policy"))["maxmemory-policy"]
    await world.redis.config_set("maxmemory-policy", "noeviction")
    await world.redis.config_set("maxmemory", 1)
    try:
        with pytest.raises(OutOfMemoryError):
            await world.redis.set("x", "y")
        yield
    finally:
        await world.redis.config_set("maxmemory", 0)
        await world.redis.config_set("maxmemory-policy", kept)


@pytest.mark.parametrize("more", [{}, {"unique_key": "u"}, {"due_ms": NOW + 5}])
async def test_enqueue_is_refused_and_writes_nothing(world: World, more: dict[str, Any]) -> None:
    await world.enqueue(new("x0"))
    before = await world.snapshot()
    async with no_memory(world):
        with pytest.raises(OutOfMemoryError):
            await world.enqueue(new("x1", **more), new("x2", tenant="b"))
        with pytest.raises(OutOfMemoryError):
            await world.enqueue(new("x3", tenant="b"))
        assert await world.snapshot() == before


@pytest.mark.parametrize("outcome", list(Outcome))
async def test_finish(world: World, outcome: Outcome) -> None:
    await world.enqueue(new("x1", reply_to="c1", unique_key="u"))
    claim = await world.claim()
    async with no_memory(world):
        assert await world.finish(*claim.actions, outcome=outcome, response=b"r", due_ms=NOW + 5) == [True]
        picture = await world.snapshot()
    assert "owned:w1" not in picture
    if outcome in (Outcome.RETRY, Outcome.SNOOZED):
        assert picture["scheduled"] == {"x1": NOW + 5}
    else:
        assert (picture["resp:x1"], picture["notify:c1"]) == (["r"], ["x1\nr"])
        assert picture.keys().isdisjoint({"actions", "unique_holders"})


async def test_a_full_server_is_worked_empty(world: World) -> None:
    """Ready, due, held and owned work goes on being claimed and finished, leases are prolonged."""
    await world.enqueue(*some(3), *some(5, "held", "free"), new("late", due_ms=NOW + 9))
    first = await world.claim()
    async with no_memory(world):
        assert (await world.engine.extend(world.domain, "w1")).held
        assert (await world.engine.extend(world.domain, "w2", register=True)).held
        await world.engine.release(world.domain, "w1", first.actions[:2])
        await world.finish(*first.actions[2:])
        world.clock.advance(MINUTE + 1)
        done: list[str] = []
        while (claim := await world.claim("w2", 2)).actions:
            done += ids(claim.actions)
            assert all(await world.finish(*claim.actions, worker="w2", response=b"r"))
        assert sorted(done) == ["acme-0", "acme-1", "held-3", "held-4", "late"]
        assert await world.claim("w2") == ([], 0, False, False, 0)
    assert await world.unfinished() == {}


async def test_maintenance(world: World) -> None:
    await world.worker("w2")
    await world.enqueue(*some(3), new("late", due_ms=NOW + 9))
    await world.claim(slots=2)
    world.clock.advance(MINUTE)
    await world.worker("w2")
    async with no_memory(world):
        assert (await world.engine.promote(world.domain)).moved == 1
        assert await world.engine.reclaim(world.domain) == (1, 2)
        assert await world.cancel("acme-0", "late") == ["cancelled", "cancelled"]
        assert await world.claim_ids("w2") == ["acme-1", "acme-2"]


async def test_an_operator_can_stop_a_flood(world: World) -> None:
    where = (world.engine, [world.domain])
    await world.enqueue(*some(2), *some(2, "other", "free"))
    async with no_memory(world):
        await overrides.pause_tenant(*where, "acme", by="ana")
        await overrides.set_override(*where, "other", by="ana", max_concurrency=1)
        assert await world.claim_ids() == ["other-0"]
        for what in (pauses.DOMAIN, pauses.tier("free"), pauses.action_type("a.b")):
            assert await pauses.pause(*where, what, by="ana")
        assert await world.claim_ids() == []
        for what in (pauses.DOMAIN, pauses.tier("free"), pauses.action_type("a.b")):
            assert await pauses.resume(*where, what, by="ana")
        await overrides.set_override(*where, "acme", by="ana", weight=2)
        await overrides.resume_tenant(*where, "acme", by="ana")
        assert await world.claim_ids() == ["acme-0", "acme-1"]


@pytest.mark.parametrize("outcome", [Outcome.SNOOZED, Outcome.EXPIRED])
async def test_a_handler_says_not_now(world: World, outcome: Outcome) -> None:
    await world.enqueue(*some(2))
    [action] = (await world.claim(slots=1)).actions
    async with no_memory(world):
        said = await world.finish(action, outcome=outcome, pressed="tenant", pressed_until_ms=NOW + 500)
        assert said == [True]
        claim = await world.claim()
        assert (claim.actions, claim.next_due_ms) == ([], NOW + 500)


async def test_what_a_named_limit_refuses_goes_back(redis: Redis) -> None:
    limit = '[limits.x]\nrate = "1/minute"\naction_types = ["embedding.generate"]'
    world = World(redis, f'default_tier = "t"\n[tiers.t]\npriority = 1\n{limit}')
    await world.worker("w1")
    await world.engine.publish_policy(world.domain)
    await world.enqueue(*some(3, tier="t"))
    async with no_memory(world):
        claim = await world.claim()
        assert (ids(claim.actions), claim.next_due_ms) == (["acme-0"], NOW + MINUTE + 1)


async def test_what_is_paused_is_set_aside_and_comes_back(world: World) -> None:
    where = (world.engine, [world.domain])
    await world.enqueue(*some(3), *some(5, "held", "free"))
    await world.claim(slots=9)
    await world.enqueue(new("x1"), new("x2", "other"))
    await pauses.pause(*where, pauses.action_type("embedding.generate"), by="ana")
    await overrides.pause_tenant(*where, "other", by="ana")
    async with no_memory(world):
        assert await world.claim_ids() == []
        assert (await world.snapshot())["set_aside:embedding.generate"]
        await pauses.resume(*where, pauses.action_type("embedding.generate"), by="ana")
        await overrides.resume_tenant(*where, "other", by="ana")
        assert sorted(await world.claim_ids()) == ["x1", "x2"]


async def test_a_lease_that_ended_unnoticed(world: World) -> None:
    await world.enqueue(new("x1"))
    world.clock.advance(MINUTE)
    async with no_memory(world):
        assert await world.claim_ids() == ["x1"]


async def test_cancelling_a_running_action(world: World) -> None:
    await world.enqueue(new("x1"))
    await world.claim()
    async with no_memory(world):
        assert await world.cancel("x1") == ["running"]
    assert await world.mailbox("w1") == ["cancel x1"]
