"""reclaim: what a dead worker held is next in its tenant's line."""

from __future__ import annotations

from scheduler import Outcome
from tests.scheduler.world import NOW, World, changes, ids, new, some


async def dead(world: World, slots: int = 10) -> list[str]:
    """w1 has claimed, its lease has ended; w2 lives."""
    held = ids((await world.claim("w1", slots)).actions)
    world.clock.advance(world.engine.lease_ms + 1)
    await world.worker("w2")
    return held


async def test_nobody_is_dead(world: World) -> None:
    await world.enqueue(new("x1"))
    await world.claim()
    world.clock.advance(world.engine.lease_ms)
    before = await world.snapshot()
    assert await world.engine.reclaim(world.domain) == (0, 0)
    assert await world.snapshot() == before


async def test_takes_back(world: World) -> None:
    await world.enqueue(*some(3))
    assert await dead(world, 2) == ["acme-0", "acme-1"]
    before = await world.snapshot()
    assert await world.engine.reclaim(world.domain) == (1, 2)
    after = changes(before, await world.snapshot())
    assert set(after.pop("attempts")) == {"acme-0", "acme-1"}
    assert after == {
        "counters": {"enterprise:enqueued": "3", "enterprise:reclaimed": "2"},
        "owned:w1": None,
        "returned:acme:enterprise": 2,
        "returned_count": {"acme:enterprise": "2"},
        "stream acme:enterprise": {
            "entries": ["acme-0", "acme-1", "acme-2"],
            "parked": {"acme-0": 1, "acme-1": 1},
        },
        "waiting": {"acme:enterprise": "3"},
        "workers": {"w2": world.now + world.engine.lease_ms},
    }


async def test_comes_back_first_in_line_as_a_further_attempt(world: World) -> None:
    await world.enqueue(*some(3))
    await dead(world, 2)
    await world.engine.reclaim(world.domain)
    claim = await world.claim("w2")
    assert [(a.action_id, a.attempt) for a in claim.actions] == [("acme-0", 2), ("acme-1", 2), ("acme-2", 1)]


async def test_the_dead_worker_can_write_nothing_any_more(world: World) -> None:
    await world.enqueue(new("x1", reply_to="*"))
    claim = await world.claim()
    await dead(world)
    await world.engine.reclaim(world.domain)
    before = await world.snapshot()
    assert await world.finish(*claim.actions, response=b"late") == [False]
    assert await world.engine.release(world.domain, "w1", claim.actions) == 0
    assert (await world.claim("w1")).lost
    assert not (await world.engine.extend(world.domain, "w1")).held
    assert await world.snapshot() == before


async def test_a_living_worker_is_left_alone(world: World) -> None:
    await world.worker("w2")
    await world.enqueue(*some(2))
    await world.claim("w2", slots=1)
    await dead(world)
    await world.engine.reclaim(world.domain)
    assert set((await world.snapshot())["owned:w2"]) == {"acme-0"}


async def test_is_bounded(world: World) -> None:
    await world.enqueue(*some(1_000))
    for _ in range(2):
        await world.claim(slots=500)
    world.clock.advance(world.engine.lease_ms + 1)
    taken: list[int] = []
    while (reclaimed := await world.engine.reclaim(world.domain, most=100)).workers:
        assert reclaimed.actions > 0
        taken.append(reclaimed.actions)
    assert sum(taken) == 1_000
    assert max(taken) <= 250  # the server scans by buckets, so the bound is about right
    assert "workers" not in await world.snapshot()


async def test_one_worker_at_a_time_the_longest_dead_first(world: World) -> None:
    world.clock.advance(1)
    await world.worker("w2", "w3")
    world.clock.advance(world.engine.lease_ms + 1)
    seen = []
    for _ in range(4):
        before = set((await world.snapshot()).get("workers", {}))
        await world.engine.reclaim(world.domain)
        seen.append(before - set((await world.snapshot()).get("workers", {})))
    assert seen == [{"w1"}, {"w2"}, {"w3"}, set()]


async def test_leaves_nothing_of_the_dead_worker(world: World) -> None:
    await world.enqueue(new("x1"))
    await world.claim()
    await world.cancel("x1")
    await world.redis.zadd(world.key("sleepers"), {"w1": NOW})
    world.clock.advance(world.engine.lease_ms + 1)
    await world.engine.reclaim(world.domain)
    picture = await world.snapshot()
    assert picture.keys().isdisjoint({"workers", "sleepers", "owned:w1", "cancelling:w1", "mailbox:w1"})


async def test_frees_concurrency_slots(world: World) -> None:
    await world.enqueue(*some(2, tier="solo"))
    await dead(world)
    await world.engine.reclaim(world.domain)
    assert "held" not in await world.snapshot()
    assert await world.claim_ids("w2") == ["acme-0"]


async def test_wakes_a_sleeper(world: World) -> None:
    await world.enqueue(new("x1"))
    await dead(world)
    await world.claim("w2")
    await world.engine.reclaim(world.domain)
    assert await world.mailbox("w2") == ["wake"]


async def test_a_wake_up_that_died_with_its_worker_is_passed_on(world: World) -> None:
    await world.claim("w1")
    await world.enqueue(new("x1"))
    assert await world.mailbox("w1") == ["wake"]
    world.clock.advance(world.engine.lease_ms + 1)
    await world.worker("w2")
    await world.redis.zadd(world.key("sleepers"), {"w2": world.now})
    assert await world.engine.reclaim(world.domain) == (1, 0)
    assert await world.mailbox("w2") == ["wake"]


async def test_who_knew_when_the_next_is_due_died_and_another_is_told(world: World) -> None:
    await world.enqueue(new("x1", due_ms=NOW + 90_000))
    assert (await world.claim("w1")).next_due_ms == NOW + 90_000
    world.clock.advance(world.engine.lease_ms + 1)
    await world.worker("w2")
    await world.redis.zadd(world.key("sleepers"), {"w2": world.now - 1})
    assert await world.engine.reclaim(world.domain) == (1, 0)
    assert await world.mailbox("w2") == ["wake"]


async def test_a_retried_action_of_the_dead_worker_is_not_its_any_more(world: World) -> None:
    await world.enqueue(*some(2))
    claim = await world.claim()
    await world.finish(claim.actions[0], outcome=Outcome.RETRY, due_ms=NOW + 1)
    world.clock.advance(world.engine.lease_ms + 1)
    assert await world.engine.reclaim(world.domain) == (1, 1)
    assert (await world.snapshot())["scheduled"] == {"acme-0": NOW + 1}


async def test_a_worker_whose_death_is_known_loses_all_before_its_lease_ends(world: World) -> None:
    await world.worker("w2")
    await world.enqueue(*some(3))
    await world.claim("w1", 2)
    await world.claim("w2", 1)
    assert await world.engine.reclaim(world.domain, worker_id="w1") == (1, 2)
    assert await world.engine.reclaim(world.domain, worker_id="w1") == (0, 0)
    assert not (await world.engine.extend(world.domain, "w1")).held
    assert (await world.snapshot())["owned:w2"]


async def test_a_lease_that_has_moved_keeps_its_worker(world: World) -> None:
    await world.enqueue(new("x1"))
    await world.claim()
    lease = world.now + world.engine.lease_ms
    before = await world.snapshot()
    reclaim = world.engine.reclaim
    assert await reclaim(world.domain, worker_id="w1", lease_until_ms=lease - 1) == (0, 0)
    assert await reclaim(world.domain, worker_id="nobody") == (0, 0)
    assert await world.snapshot() == before
    assert await reclaim(world.domain, worker_id="w1", lease_until_ms=lease) == (1, 1)
