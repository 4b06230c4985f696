"""describe, instruct, and the list of workers."""

from __future__ import annotations

import pytest

from scheduler import PolicyError, roster
from tests.scheduler.world import NOW, World, changes, new

INFO = {"host": "h", "pid": 1, "state": "running"}


async def test_what_a_worker_says_is_kept_while_it_lives(world: World) -> None:
    assert await roster.describe(world.engine, world.domain, "w1", INFO, claims=True)
    assert not await roster.describe(world.engine, world.domain, "stranger", INFO, claims=True)
    (standing,) = await roster.workers(world.engine, world.domain)
    assert standing == ("w1", world.domain, NOW + world.engine.lease_ms, INFO, 0, [])
    await world.engine.retire(world.domain, "w1")
    assert not await world.redis.exists(world.key("worker_info"))
    assert await roster.workers(world.engine, world.domain) == []


async def test_a_dead_workers_words_go_with_it(world: World) -> None:
    await roster.describe(world.engine, world.domain, "w1", INFO, claims=True)
    world.clock.advance(world.engine.lease_ms + 1)
    await world.engine.reclaim(world.domain)
    assert not await world.redis.exists(world.key("worker_info"))


async def test_who_claims_no_more_passes_its_wake_up_on(world: World) -> None:
    await world.worker("w2")
    await world.claim("w2")
    world.clock.advance(1)
    await world.claim("w1")  # went to sleep last: it is woken first
    await world.enqueue(new("x1"))
    assert await world.redis.lrange(world.key("mailbox", "w1"), 0, -1) == [b"wake"]
    await roster.describe(world.engine, world.domain, "w1", {}, claims=False)
    assert await world.redis.lrange(world.key("mailbox", "w2"), 0, -1) == [b"wake"]
    assert not await world.redis.exists(world.key("sleepers"))


async def test_who_has_no_slot_passes_its_wake_up_on(world: World) -> None:
    await world.worker("w2")
    await world.claim("w2")
    world.clock.advance(1)
    await world.claim("w1")
    await roster.pass_on(world.engine, world.domain, "w1")
    assert await world.redis.lrange(world.key("mailbox", "w2"), 0, -1) == [b"wake"]
    assert not await world.redis.exists(world.key("sleepers"), world.key("mailbox", "w1"))
    before = await world.snapshot()
    await roster.pass_on(world.engine, world.domain, "w2")  # nobody is left: it ends here
    assert changes(before, await world.snapshot()) == {}


async def test_what_each_runs_and_since_when(world: World) -> None:
    await world.enqueue(new("x1"), new("x2", "beta"))
    await world.claim(slots=5)
    (standing,) = await roster.workers(world.engine, world.domain)
    assert standing.owned == 2
    assert {(each.action_id, each.tenant_id, each.attempt) for each in standing.running} == {
        ("x1", "acme", 1),
        ("x2", "beta", 1),
    }
    assert all(each.since_ms is not None and each.since_ms <= NOW for each in standing.running)
    (shown,) = await roster.workers(world.engine, world.domain, shown=1)
    assert (shown.owned, len(shown.running)) == (2, 1)


async def test_messages_reach_those_that_are_there(world: World) -> None:
    await world.worker("w2")
    engine, domain = world.engine, world.domain
    assert await roster.instruct(engine, domain, "quiet", "w1", by="ann") == ["w1"]
    assert sorted(await roster.instruct(engine, domain, "stop", by="ann", why="deploy")) == ["w1", "w2"]
    assert await roster.instruct(engine, domain, "quiet", "w3", by="ann") == []
    assert await world.redis.lrange(world.key("mailbox", "w1"), 0, -1) == [b"quiet", b"stop"]
    assert not await world.redis.exists(world.key("mailbox", "w3"))
    entries = await world.redis.xrange(world.key("operations"))
    assert [fields[b"did"] for _, fields in entries] == [b"quiet worker w1", b"stop all workers"]


async def test_a_message_that_does_not_exist_or_comes_from_nobody(world: World) -> None:
    before = await world.snapshot()
    with pytest.raises(ValueError, match="none of quiet"):
        await roster.instruct(world.engine, world.domain, "die", by="ann")
    with pytest.raises(PolicyError, match="say who"):
        await roster.instruct(world.engine, world.domain, "stop", by=" ")
    assert changes(before, await world.snapshot()) == {}
