"""retire: a worker leaves the registry."""

from __future__ import annotations

from tests.scheduler.world import World, changes, new


async def test_leaves_nothing(world: World) -> None:
    await world.claim()
    await world.redis.rpush(world.key("mailbox", "w1"), "quiet")
    before = await world.snapshot()
    assert await world.engine.retire(world.domain, "w1")
    assert changes(before, await world.snapshot()) == {"workers": None, "sleepers": None, "mailbox:w1": None}
    assert not (await world.engine.extend(world.domain, "w1")).held


async def test_not_while_it_owns_actions(world: World) -> None:
    await world.enqueue(new("x1"))
    claim = await world.claim()
    before = await world.snapshot()
    assert not await world.engine.retire(world.domain, "w1")
    assert await world.snapshot() == before
    await world.engine.release(world.domain, "w1", claim.actions)
    assert await world.engine.retire(world.domain, "w1")


async def test_a_wake_up_it_did_not_use_is_passed_on(world: World) -> None:
    await world.worker("w2")
    await world.claim("w2")
    world.clock.advance(1)
    await world.claim("w1")
    await world.enqueue(new("x1"))
    assert await world.mailbox("w1") == ["wake"]
    await world.engine.retire(world.domain, "w1")
    assert await world.mailbox("w2") == ["wake"]


async def test_who_knew_when_the_next_is_due_leaves_and_another_is_told(world: World) -> None:
    await world.worker("w2")
    await world.claim("w2")
    world.clock.advance(1)
    await world.claim("w1")
    await world.enqueue(new("x1", due_ms=world.now + 90_000))
    assert await world.mailbox("w1") == ["wake"]
    assert (await world.claim("w1")).next_due_ms == world.now + 90_000
    await world.redis.delete(world.key("mailbox", "w1"))
    await world.engine.retire(world.domain, "w1")
    assert await world.mailbox("w2") == ["wake"]


async def test_unknown(world: World) -> None:
    before = await world.snapshot()
    assert await world.engine.retire(world.domain, "stranger")
    assert await world.snapshot() == before
