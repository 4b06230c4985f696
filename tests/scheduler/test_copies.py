"""Somebody else copies entries of ours, header and all: one id, several entries. None stays for good."""

from __future__ import annotations

from typing import Any

import pytest

from scheduler import Outcome
from tests.scheduler.world import World, ids, new, some


async def copy(world: World, tenant: str = "acme", tier: str = "enterprise", *, into: str = "") -> None:
    """The first entry of a line once more, at the end of that line or of another one."""
    [(_, fields)] = await world.redis.xrange(world.stream(tenant, tier), count=1)
    await world.redis.xadd(into or world.stream(tenant, tier), fields)


async def left(world: World) -> dict[str, Any]:
    """What nothing may be in once all is over, but for wake-ups."""
    found = await world.unfinished()
    return {name: value for name, value in found.items() if not name.startswith("mailbox")}


async def test_two_of_one_id_in_one_claim_are_one(world: World) -> None:
    await world.enqueue(*some(2, reply_to="*"))
    await copy(world)
    await copy(world)
    claim = await world.claim(slots=3)
    claim.actions.extend((await world.claim(slots=3)).actions)
    assert sorted({*ids(claim.actions)}) == ["acme-0", "acme-1"]
    assert len((await world.snapshot())["stream acme:enterprise"]["entries"]) == 2
    await world.finish(*claim.actions, response=b"r")
    assert (await left(world)).keys() == {"resp:acme-0", "resp:acme-1"}


async def test_the_entry_that_the_queue_knows_is_kept(world: World) -> None:
    """It is the one that a cancellation and a promotion find."""
    await world.enqueue(new("x1"), new("x2"))
    [place] = [text.decode() for text in [await world.redis.hget(world.key("actions"), "x1")]]
    [(entry, fields), _] = await world.redis.xrange(world.stream())
    before = f"{int(entry.split(b'-')[0]) - 1}-0"
    rest = await world.redis.xrange(world.stream())
    await world.redis.delete(world.stream())  # the copy stands in front
    await world.redis.xgroup_create(world.stream(), "workers", "0", mkstream=True)
    await world.redis.xadd(world.stream(), fields, id=before)
    for each, its in rest:
        await world.redis.xadd(world.stream(), its, id=each)
    claim = await world.claim(slots=3)
    claim.actions.extend((await world.claim(slots=3)).actions)
    assert sorted(ids(claim.actions)) == ["x1", "x2"]
    record = (await world.redis.hget(world.key("owned", "w1"), "x1")).decode()
    assert " ".join(record.split(" ")[1:3]) == place
    assert await world.redis.xlen(world.stream()) == 2
    assert await world.finish(*claim.actions) == [True, True]
    assert await left(world) == {}


@pytest.mark.parametrize("ended", [False, True], ids=["alive", "over"])
async def test_an_id_that_this_worker_has_is_taken_again(world: World, ended: bool) -> None:
    """The first record of it was overwritten: nobody could hand that entry in any more."""
    await world.enqueue(new("x1", reply_to="*"))
    [(_, fields)] = await world.redis.xrange(world.stream())
    if ended:
        await world.finish(*(await world.claim()).actions, response=b"r")
        await world.redis.xgroup_create(world.stream(), "workers", "0", mkstream=True)
        await world.redis.xadd(world.stream(), fields)
    await world.enqueue(new("x2"))
    first = await world.claim(slots=1)
    assert ids(first.actions) == ["x1"]
    await world.redis.xadd(world.stream(), fields)
    second = await world.claim(slots=5)
    again = await world.claim(slots=5)
    later = [*second.actions, *again.actions]
    assert sorted(ids(later)) == ["x1", "x2"]
    assert (await world.snapshot())["stream acme:enterprise"]["running"] == {"x1": 1, "x2": 1}
    assert await world.redis.xlen(world.stream()) == 2
    assert await world.finish(*first.actions, *later, response=b"r") == [False, True, True]
    assert (await left(world)).keys() == {"resp:x1"}


async def test_an_id_that_another_worker_has_is_run_twice_and_leaves_nothing(world: World) -> None:
    await world.worker("w2")
    await world.enqueue(new("x1", reply_to="*"))
    first = await world.claim()
    await copy(world)
    await world.enqueue(new("x2"))
    second = await world.claim("w2")
    second.actions.extend((await world.claim("w2")).actions)
    assert sorted(ids(second.actions)) == ["x1", "x2"]
    assert await world.finish(*first.actions, response=b"r") == [True]
    assert await world.finish(*second.actions, worker="w2", response=b"r") == [True, True]
    assert (await left(world)).keys() == {"resp:x1"}


async def test_what_another_worker_has_is_left_to_it(world: World) -> None:
    """Three of one id: two of them with this worker, one with another, whose record tells of its own."""
    await world.worker("w2")
    await world.enqueue(new("x1"), new("x2"), new("x3"))
    others = await world.claim("w2", slots=1)
    await copy(world)
    await copy(world)
    mine = [*(await world.claim(slots=4)).actions, *(await world.claim(slots=4)).actions]
    assert sorted(ids(mine)) == ["x1", "x2", "x3"]
    assert await world.redis.xlen(world.stream()) == 4
    assert await world.engine.release(world.domain, "w2", others.actions) == 1
    await world.finish(*mine)
    assert ids((await world.claim("w2")).actions) == ["x1"]


async def test_a_copy_in_a_tenants_only_slot_does_not_hold_it(world: World) -> None:
    await world.enqueue(new("x1", tier="solo"))
    await world.enqueue(new("mine", tenant="b", tier="solo"))
    await world.redis.xgroup_create(world.stream("c", "solo"), "workers", "0", mkstream=True)
    await copy(world, "acme", "solo", into=world.stream("b", "solo"))
    await world.enqueue(new("later", tenant="b", tier="solo"))
    await world.redis.delete(world.stream("c", "solo"))
    taken = await world.claim()
    assert sorted(ids(taken.actions)) == ["mine", "x1"]
    await world.cancel("later")
    await world.finish(taken.actions[1])
    await world.enqueue(new("last", tenant="b", tier="solo"))
    rest = [taken.actions[0], *(await world.claim()).actions]
    for _ in range(3):
        await world.finish(*rest)
        rest = (await world.claim()).actions
    assert await left(world) == {}


async def test_the_slot_of_a_copy_is_free_at_once(world: World) -> None:
    """Its tenant was held for having no slot; it was not one of its own that had it."""
    await world.enqueue(new("x1", tier="solo"))
    [(_, fields)] = await world.redis.xrange(world.stream("acme", "solo"))
    await world.redis.xgroup_create(world.stream("b", "solo"), "workers", "0", mkstream=True)
    await world.redis.xadd(world.stream("b", "solo"), fields)
    await world.enqueue(new("own", tenant="b", tier="solo"))
    await world.redis.xadd(world.stream("b", "solo"), fields)
    await world.enqueue(new("own-2", tenant="b", tier="solo"))
    first = await world.claim()
    assert ids(first.actions) == ["x1"]
    assert first.more
    second = await world.claim()
    assert ids(second.actions) == ["own"]


@pytest.mark.parametrize("way", [Outcome.RETRY, Outcome.SNOOZED])
@pytest.mark.parametrize("over", [False, True])
async def test_a_copy_that_is_to_be_tried_again(world: World, way: Outcome, over: bool) -> None:
    """When it is due it is looked up by its id; what that does not lead to would stay parked for good."""
    await world.worker("w2")
    await world.enqueue(new("x1", reply_to="*"))
    first = await world.claim()
    await copy(world, into=world.stream("b"))
    await world.redis.xgroup_create(world.stream("b"), "workers", "0")
    await world.enqueue(new("x2", tenant="b"))
    second = await world.claim("w2", slots=1)
    assert ids(second.actions) == ["x1"]
    if over:
        await world.finish(*first.actions, response=b"r")
    await world.finish(*second.actions, worker="w2", outcome=way, due_ms=world.now + 1)
    if not over:
        await world.finish(*first.actions, response=b"r")
    world.clock.advance(2)
    last = (await world.claim()).actions
    assert ids(last) == (["x1", "x2"] if over else ["x2"])
    await world.finish(*last)
    assert (await left(world)).keys() == {"resp:x1"}
