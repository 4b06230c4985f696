"""release: given back without an attempt, next in line."""

from __future__ import annotations

from scheduler.engine import MAX_ITEMS
from tests.scheduler.world import MINUTE, NOW, World, changes, new, some


async def test_gives_back(world: World) -> None:
    await world.enqueue(*some(3))
    claim = await world.claim(slots=2)
    before = await world.snapshot()
    assert await world.engine.release(world.domain, "w1", claim.actions) == 2
    assert changes(before, await world.snapshot()) == {
        "owned:w1": None,
        "returned:acme:enterprise": 2,
        "returned_count": {"acme:enterprise": "2"},
        "stream acme:enterprise": {
            "entries": ["acme-0", "acme-1", "acme-2"],
            "parked": {"acme-0": 0, "acme-1": 0},
        },
        "waiting": {"acme:enterprise": "3"},
    }
    assert [(a.action_id, a.attempt) for a in (await world.claim()).actions] == [
        ("acme-0", 1),
        ("acme-1", 1),
        ("acme-2", 1),
    ]


async def test_a_drained_tenant_is_startable_again(world: World) -> None:
    await world.enqueue(new("x1"))
    claim = await world.claim()
    assert "ready:enterprise" not in await world.snapshot()
    await world.engine.release(world.domain, "w1", claim.actions)
    assert (await world.snapshot())["ready:enterprise"] == {"acme": 1_000_000}


async def test_wakes_somebody_else(world: World) -> None:
    await world.worker("w2")
    await world.claim("w2")
    world.clock.advance(1)
    await world.enqueue(new("x1"))
    await world.redis.delete(world.key("mailbox", "w2"))
    claim = await world.claim("w1")
    await world.claim("w2")
    await world.engine.release(world.domain, "w1", claim.actions)
    assert (await world.mailbox("w1"), await world.mailbox("w2")) == ([], ["wake"])
    assert "sleepers" not in await world.snapshot()


async def test_frees_a_concurrency_slot(world: World) -> None:
    await world.enqueue(*some(2, tier="solo"))
    claim = await world.claim()
    await world.engine.release(world.domain, "w1", claim.actions)
    assert "held" not in await world.snapshot()
    assert await world.claim_ids() == ["acme-0"]


async def test_what_is_not_owned_stays_where_it_is(world: World) -> None:
    await world.enqueue(*some(2))
    one, two = (await world.claim()).actions
    await world.finish(one)
    before = await world.snapshot()
    assert await world.engine.release(world.domain, "w1", [one, two._replace(token=9)]) == 0
    assert await world.engine.release(world.domain, "stranger", [two]) == 0
    assert await world.engine.release(world.domain, "w1", []) == 0
    assert await world.snapshot() == before


async def test_a_held_tenant_stays_held(world: World) -> None:
    await world.enqueue(*some(4, tier="free"))
    claim = await world.claim()
    await world.engine.release(world.domain, "w1", claim.actions)
    picture = await world.snapshot()
    assert picture["held"] == {"acme:free": NOW + MINUTE + 1}
    assert picture["waiting"] == {"acme:free": "4"}


async def test_more_than_one_script_call_takes(world: World) -> None:
    await world.enqueue(*some(MAX_ITEMS + 5))
    actions = [a for _ in range(2) for a in (await world.claim(slots=MAX_ITEMS)).actions]
    assert await world.engine.release(world.domain, "w1", actions) == MAX_ITEMS + 5
