"""promote: due work becomes ready, holds end, worthless usage goes."""

from __future__ import annotations

from scheduler import Outcome
from tests.scheduler.world import DAY, MINUTE, NOW, World, changes, new, some


async def test_nothing_due(world: World) -> None:
    await world.enqueue(new("x1", due_ms=NOW + 1))
    before = await world.snapshot()
    assert await world.engine.promote(world.domain) == (0, NOW + 1)
    assert await world.snapshot() == before


async def test_first_attempts_go_to_the_end_of_their_line(world: World) -> None:
    await world.enqueue(new("x2", due_ms=NOW + 10), new("x1", due_ms=NOW + 5), new("x0"))
    world.clock.advance(10)
    before = await world.snapshot()
    assert await world.engine.promote(world.domain) == (2, 0)
    assert changes(before, await world.snapshot()) == {
        "actions": dict.fromkeys(["x0", "x1", "x2"], "acme:enterprise @"),
        "delayed": None,
        "delayed_count": None,
        "scheduled": None,
        "stream acme:enterprise": {"entries": ["x0", "x1", "x2"]},
        "waiting": {"acme:enterprise": "3"},
    }
    assert await world.claim_ids() == ["x0", "x1", "x2"]


async def test_further_attempts_go_to_the_head_of_their_line(world: World) -> None:
    await world.enqueue(*some(3))
    first, _ = (await world.claim(slots=2)).actions
    await world.finish(first, outcome=Outcome.RETRY, due_ms=NOW + 5)
    world.clock.advance(5)
    assert (await world.engine.promote(world.domain)).moved == 1
    assert (await world.snapshot())["returned:acme:enterprise"] == 1
    assert await world.claim_ids() == ["acme-0", "acme-2"]


async def test_a_hold_ends(world: World) -> None:
    await world.enqueue(*some(4, tier="free"))
    await world.claim()
    world.clock.advance(MINUTE)
    assert await world.engine.promote(world.domain) == (0, NOW + MINUTE + 1)
    world.clock.advance(1)
    before = await world.snapshot()
    assert (await world.engine.promote(world.domain)).moved == 1
    after = changes(before, await world.snapshot())
    assert after.pop("mailbox:w1") == ["wake"]
    assert after == {"held": None, "held_why": None, "ready:free": {"acme": 3_000_000}, "sleepers": None}


async def test_a_concurrency_hold_does_not_end_by_time(world: World) -> None:
    await world.enqueue(*some(2, tier="solo"))
    await world.claim()
    world.clock.advance(400 * DAY)
    assert await world.engine.promote(world.domain) == (0, 0)


async def test_wakes_a_sleeper_only_when_something_moved(world: World) -> None:
    await world.enqueue(new("x1", due_ms=NOW + 5))
    await world.claim()
    await world.engine.promote(world.domain)
    assert await world.mailbox("w1") == []
    world.clock.advance(5)
    await world.engine.promote(world.domain)
    assert await world.mailbox("w1") == ["wake"]


async def test_is_bounded(world: World) -> None:
    await world.enqueue(*some(25, due_ms=NOW + 1))
    world.clock.advance(1)
    moved = [(await world.engine.promote(world.domain, most=10)).moved for _ in range(4)]
    assert moved == [10, 10, 5, 0]
    assert await world.claim_ids(slots=50) == sorted(f"acme-{n}" for n in range(25))


async def test_what_limits_remember_goes_when_it_is_worthless(world: World) -> None:
    await world.enqueue(*some(3, tier="free"), *some(1, "pro", "professional"))
    await world.finish(*(await world.claim()).actions)
    assert set((await world.snapshot())["usage"]) == {"acme:free", "pro:professional"}
    world.clock.advance(MINUTE + 1)
    await world.engine.promote(world.domain)
    assert set((await world.snapshot())["usage"]) == {"acme:free"}  # a day's quota is still running
    world.clock.advance(DAY)
    await world.engine.promote(world.domain)
    assert (await world.snapshot()).keys().isdisjoint({"usage", "usage_due"})
