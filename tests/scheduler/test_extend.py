"""extend: the lease, and what it tells."""

from __future__ import annotations

from tests.scheduler.world import NOW, World, changes, new


async def test_registers(world: World) -> None:
    before = await world.snapshot()
    said = await world.engine.extend(world.domain, "w2", register=True)
    assert said == (True, [])
    lease = NOW + world.engine.lease_ms
    assert changes(before, await world.snapshot()) == {"workers": {"w1": lease, "w2": lease}}


async def test_prolongs(world: World) -> None:
    world.clock.advance(700)
    assert (await world.engine.extend(world.domain, "w1")).held
    assert (await world.snapshot())["workers"] == {"w1": NOW + 700 + world.engine.lease_ms}


async def test_never_shortens(world: World) -> None:
    world.clock.advance(-5_000)
    assert (await world.engine.extend(world.domain, "w1")).held
    assert (await world.snapshot())["workers"] == {"w1": NOW + world.engine.lease_ms}


async def test_lost(world: World) -> None:
    before = await world.snapshot()
    assert await world.engine.extend(world.domain, "stranger") == (False, [])
    assert await world.snapshot() == before


async def test_an_ended_lease_is_still_held_until_somebody_reclaims(world: World) -> None:
    world.clock.advance(world.engine.lease_ms + 1)
    assert (await world.engine.extend(world.domain, "w1")).held
    assert await world.engine.reclaim(world.domain) == (0, 0)
    world.clock.advance(world.engine.lease_ms + 1)
    assert await world.engine.reclaim(world.domain) == (1, 0)
    assert not (await world.engine.extend(world.domain, "w1")).held


async def test_tells_what_to_cancel_until_it_is_finished(world: World) -> None:
    await world.enqueue(new("x1"), new("x2"))
    first, _ = (await world.claim()).actions
    await world.cancel("x1")
    for _ in range(2):
        assert (await world.engine.extend(world.domain, "w1")).cancelled == ["x1"]
    await world.finish(first)
    assert (await world.engine.extend(world.domain, "w1")).cancelled == []


async def test_a_lease_from_a_clock_that_was_set_back_is_replaced(world: World) -> None:
    """Else it would stand still for as long as the clock was ahead, and its worker be taken for dead."""
    hour = 3_600_000
    world.clock.advance(2 * hour)
    assert (await world.engine.extend(world.domain, "w1")).held
    world.clock.advance(-2 * hour)
    for _ in range(2):
        world.clock.advance(5_000)
        assert (await world.engine.extend(world.domain, "w1")).held
        until_ms = world.clock.now_ms() + world.engine.lease_ms
        assert (await world.snapshot())["workers"] == {"w1": until_ms}
