"""max_concurrency counts a tenant's actions in the domain, whichever tiers they started from."""

from __future__ import annotations

import asyncio

import pytest
from redis.asyncio import Redis

from scheduler import Outcome
from scheduler.dry_run import dry_run
from scheduler.tiers import Policy
from scheduler.usage import tenant_limits
from tests.scheduler.picture import Picture
from tests.scheduler.world import World, ids, new, some

TIERS = """
default_tier = "free"
[tiers.gold]
priority = 1
max_concurrency = 3
[tiers.silver]
priority = 2
[tiers.free]
priority = 3
guaranteed_share = 0.5
max_concurrency = 2
"""


@pytest.fixture
async def world(redis: Redis) -> World:
    world = World(redis, TIERS)
    await world.worker("w1", "w2")
    await world.engine.publish_policy(world.domain)
    return world


async def check(world: World) -> None:
    Picture(await world.snapshot()).check_laws()


async def test_during_a_move_a_tenant_has_no_more_than_before(world: World) -> None:
    await world.enqueue(*some(10, tier="free"))
    old = (await world.claim()).actions
    assert ids(old) == ["acme-0", "acme-1"]
    await world.engine.move(world.domain, "acme", "gold", by="ana")
    third = (await world.claim()).actions
    assert ids(third) == ["acme-2"]
    assert (await world.snapshot())["held_why"] == {"acme:gold": "concurrency 3"}
    assert await world.claim_ids() == []
    await world.finish(old[0])
    assert await world.claim_ids() == ["acme-3"]
    await world.finish(old[1], outcome=Outcome.RETRY, due_ms=world.now)
    await check(world)
    again = await world.claim()
    assert ids(again.actions) == ["acme-4"]  # what is retried in the old tier waits for a slot, too
    assert await world.claim_ids() == []
    await check(world)


@pytest.mark.parametrize("slots", [1, 2, 5, 20])
async def test_lines_of_several_tiers_share_the_slots_of_one_claim(world: World, slots: int) -> None:
    for tier in ("gold", "free"):
        await world.enqueue(*[new(f"{tier}-{n}", tier=tier) for n in range(5)])
    running = []
    for _ in range(5):
        running += (await world.claim(slots=slots)).actions
    assert len(running) == 3
    await check(world)
    held = (await world.snapshot())["held_why"]
    assert held == {"acme:gold": "concurrency 3", "acme:free": "concurrency 2"}
    done = 0
    while running:
        done += 1
        await world.finish(running.pop(0))
        running += (await world.claim(slots=slots)).actions
        assert len(running) <= 3
        await check(world)
    assert done == 10


async def test_a_tier_without_a_limit_counts_for_one_that_has(world: World) -> None:
    await world.enqueue(*some(4, tier="silver"))
    first = (await world.claim()).actions
    await world.enqueue(*[new(f"free-{n}", tier="free") for n in range(2)])
    assert await world.claim_ids() == []
    await world.finish(*first[:2])
    assert await world.claim_ids() == []
    await world.finish(first[2])
    assert await world.claim_ids() == ["free-0"]


@pytest.mark.parametrize("end", ["finish", "release", "reclaim"])
async def test_whatever_ends_in_one_tier_frees_the_line_of_the_other(world: World, end: str) -> None:
    await world.enqueue(*some(3, tier="silver"))
    running = (await world.claim()).actions
    await world.enqueue(new("waits", tier="free"), new("other", "b", "free"))
    assert await world.claim_ids("w2") == ["other"]
    assert (await world.snapshot())["held_why"] == {"acme:free": "concurrency 2"}
    if end == "finish":
        await world.finish(*running)
    elif end == "release":
        await world.engine.release(world.domain, "w1", running)
    else:
        await world.engine.reclaim(world.domain, worker_id="w1")
    assert "held" not in await world.snapshot()
    assert "waits" in await world.claim_ids("w2") or end != "finish"
    await check(world)


async def test_racing_workers_never_run_more_than_the_limit(world: World) -> None:
    most = running = 0

    async def work(name: str) -> None:
        nonlocal most, running
        await world.worker(name)
        for _ in range(30):
            actions = (await world.claim(name, 2)).actions
            running += len(actions)
            most = max(most, running)
            await asyncio.sleep(0)
            if actions:
                running -= len(actions)
                await world.finish(*actions, worker=name)

    async def move() -> None:
        for tier in ["gold", "free"] * 10:
            await world.engine.move(world.domain, "acme", tier, by="ana", most=5)

    await world.enqueue(*some(200, tier="free"))
    await asyncio.gather(*(work(f"r{n}") for n in range(16)), move())
    assert 2 <= most <= 3
    await check(world)


async def test_an_operator_sees_what_the_limit_counts(world: World) -> None:
    await world.enqueue(*some(1, tier="silver"), new("x", tier="gold"))
    assert len((await world.claim()).actions) == 2
    shown = await tenant_limits(world.engine, world.domain, "acme", "gold")
    assert (shown.max_concurrency, shown.running, shown.slots_taken, shown.free_slots) == (3, 1, 2, 1)


async def test_the_dry_run_counts_the_same(world: World) -> None:
    await world.enqueue(*some(3, tier="silver"))
    await world.claim()
    await world.enqueue(new("waits", tier="free"))
    assert await world.claim_ids() == []
    more = Policy.parse(TIERS.replace("max_concurrency = 2", "max_concurrency = 4"))
    [effect] = (await dry_run(world.engine, [world.domain], world.policy, more)).effects
    assert (effect.tier, effect.start_again.some) == ("free", ["acme"])
