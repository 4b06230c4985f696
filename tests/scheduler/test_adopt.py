"""adopt: what an action has sent is kept under it while it is alive, and for whoever cancelled it."""

from __future__ import annotations

import pytest

from scheduler import Outcome, children
from tests.scheduler.world import MINUTE, World, new, some


async def kept(world: World, parent: str) -> list[str]:
    return [line async for page in children.of(world.engine, world.domain, parent) for line in page]


async def test_it_outlives_attempts_and_ends_with_the_action(world: World) -> None:
    await world.enqueue(new("x1"))
    [claimed] = (await world.claim()).actions
    assert await children.adopt(world.engine, world.domain, "x1", ["a", "b"]) == "written"
    await world.finish(claimed, outcome=Outcome.RETRY)
    [claimed] = (await world.claim()).actions
    assert await children.adopt(world.engine, world.domain, "x1", ["c"]) == "written"
    assert await kept(world, "x1") == ["a", "b", "c"]
    await world.finish(claimed)
    assert await kept(world, "x1") == []
    assert not await world.redis.exists(world.key("parents"), world.key("children", "x1"))


@pytest.mark.parametrize("running", [False, True])
async def test_who_cancels_is_told_and_can_still_read_it(world: World, running: bool) -> None:
    await world.enqueue(new("x1"), new("x2"))
    claimed = (await world.claim()).actions
    await children.adopt(world.engine, world.domain, "x1", ["a"])
    if running:
        assert await world.cancel("x1", "x2") == ["running", "running"]
        await world.finish(*claimed, outcome=Outcome.CANCELLED)
    else:
        await world.engine.release(world.domain, "w1", claimed)
        assert await world.cancel("x1", "x2") == ["parent", "cancelled"]
    assert await kept(world, "x1") == ["a"]
    assert not await world.redis.exists(world.key("parents"))
    assert await world.redis.ttl(world.key("children", "x1")) == -1  # until somebody has reached them
    assert await children.unreached(world.engine, world.domain) == []  # it may be at it
    world.clock.advance(5_000)
    assert await children.unreached(world.engine, world.domain) == ["x1"]
    await children.reached(world.engine, world.domain, "x1")
    assert not await world.redis.exists(world.key("cancelled_parents"), world.key("children", "x1"))


async def test_who_looks_after_the_children_may_die_too(world: World) -> None:
    parents = [f"acme-{n}" for n in range(children.PARENTS_AT_ONCE + 1)]
    await world.enqueue(*some(len(parents)))
    for parent in parents:
        await children.adopt(world.engine, world.domain, parent, ["a"])
    await world.cancel(*parents)
    world.clock.advance(5_000)
    first = await children.unreached(world.engine, world.domain)
    assert len(first) == children.PARENTS_AT_ONCE
    assert {*first, *await children.unreached(world.engine, world.domain)} == {*parents}
    assert await children.unreached(world.engine, world.domain) == []
    world.clock.advance(MINUTE)
    assert len(await children.unreached(world.engine, world.domain)) == children.PARENTS_AT_ONCE


@pytest.mark.parametrize("way", [Outcome.COMPLETED, Outcome.CANCELLED, Outcome.EXPIRED, Outcome.DEAD])
async def test_of_an_action_that_is_over_nothing_is_kept(world: World, way: Outcome) -> None:
    """Whether it was cancelled is told for at least a duplicate window."""
    await world.enqueue(new("x1"))
    await world.finish(*(await world.claim()).actions, outcome=way)
    said = "cancelled" if way is Outcome.CANCELLED else "over"
    assert await children.adopt(world.engine, world.domain, "x1", ["a"]) == said
    world.clock.advance(world.engine.duplicate_window_ms)
    assert await children.adopt(world.engine, world.domain, "x1", ["a"]) == said
    assert await children.adopt(world.engine, world.domain, "never", ["a"]) == "over"
    assert await kept(world, "x1") == []


async def test_the_newest_are_kept(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(children, "MOST", 1_200)
    await world.enqueue(*some(1))
    await world.claim()
    await children.adopt(world.engine, world.domain, "acme-0", [str(n) for n in range(1_500)])
    assert await kept(world, "acme-0") == [str(n) for n in range(300, 1_500)]


async def test_it_goes_with_an_action_whose_entry_somebody_deleted(world: World) -> None:
    await world.enqueue(new("x1"))
    await world.claim()
    await children.adopt(world.engine, world.domain, "x1", ["a"])
    await world.redis.delete(world.stream())
    await world.engine.reclaim(world.domain, worker_id="w1")
    assert await kept(world, "x1") == []
    assert not await world.redis.exists(world.key("parents"))
