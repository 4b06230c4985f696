"""Which tenants wait, hold and run the most: the same as looking at everything, page by page."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from scheduler import State, UnknownTierError, overrides, pauses
from scheduler.counts import domain_counts
from scheduler.inspect import state_of
from scheduler.known import tenants_like
from scheduler.tenants import SortBy, TenantRow, tenants
from scheduler.usage import check_tier, limits_in_use, tenant_limits
from tests.scheduler.world import MINUTE, NOW, World, new, some

MANY = 60


@pytest.fixture
async def crowd(world: World, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    """60 tenants of the free tier with 1 to 60 actions waiting, in random order, and pages of a few."""
    monkeypatch.setattr("scheduler.counts.PAGE", 7)
    usual = await world.redis.config_get("hash-max-ziplist-entries")
    await world.redis.config_set("hash-max-ziplist-entries", 0)  # else a small hash is one page
    order = list(range(1, MANY + 1))
    random.Random(1).shuffle(order)
    for count in order:
        world.clock.advance(10)
        await world.enqueue(*some(count, f"t{count:02}", "free"))
    yield world
    await world.redis.config_set("hash-max-ziplist-entries", usual["hash-max-ziplist-entries"])


def names(rows: list[TenantRow]) -> list[str]:
    return [row.tenant_id for row in rows]


async def test_those_with_the_most_waiting(crowd: World) -> None:
    before = await crowd.snapshot()
    found = await tenants(crowd.engine, crowd.domain, top=5)
    assert await crowd.snapshot() == before
    assert [(row.tenant_id, row.waiting) for row in found.rows] == [
        (f"t{n}", n) for n in (60, 59, 58, 57, 56)
    ]
    assert (found.total, found.looked_at, found.truncated) == (MANY, MANY, True)
    everyone = await tenants(crowd.engine, crowd.domain, top=1_000)
    assert names(everyone.rows) == [f"t{n:02}" for n in range(MANY, 0, -1)]
    assert not everyone.truncated


async def test_a_look_is_bounded(crowd: World) -> None:
    found = await tenants(crowd.engine, crowd.domain, top=5, most=20)
    assert 20 <= found.looked_at < MANY
    assert (found.total, len(found.rows)) == (MANY, 5)


async def test_the_longest_wait(crowd: World) -> None:
    order = list(range(1, MANY + 1))
    random.Random(1).shuffle(order)
    found = await tenants(crowd.engine, crowd.domain, sort=SortBy.OLDEST, top=4)
    assert names(found.rows) == [f"t{count:02}" for count in order[:4]]
    assert [row.oldest_ms for row in found.rows] == [NOW + 10, NOW + 20, NOW + 30, NOW + 40]


async def test_holds_runs_and_starts(world: World) -> None:
    await world.enqueue(*some(5, "a", "free"), *some(1, "b", "free"), *some(2, "c"), *some(3, "s", "solo"))
    claimed = (await world.claim(slots=20)).actions
    world.clock.advance(1_000)
    await world.finish(*[action for action in claimed if action.tenant_id in "ab"])
    back = [action for action in claimed if action.tenant_id == "c"][:1]
    await world.engine.release(world.domain, "w1", back)
    found = {row.tenant_id: row for row in (await tenants(world.engine, world.domain)).rows}
    until = NOW + MINUTE + 1
    assert found == {
        "a": TenantRow("a", "free", 2, 0, 3, NOW, True, until, "3/minute"),
        "b": TenantRow("b", "free", 0, 0, 1),
        "c": TenantRow("c", "enterprise", 1, 1, 0, NOW),
        "s": TenantRow("s", "solo", 2, 1, 0, NOW, True, None, "concurrency 1"),
    }
    by_started = await tenants(world.engine, world.domain, sort=SortBy.STARTED, top=2)
    assert names(by_started.rows) == ["a", "b"]
    by_running = await tenants(world.engine, world.domain, sort=SortBy.RUNNING, top=2)
    assert names(by_running.rows) == ["c", "s"]
    held = await tenants(world.engine, world.domain, held_only=True)
    assert (names(held.rows), held.total) == (["a", "s"], 2)
    solo = await tenants(world.engine, world.domain, tier="solo")
    assert (names(solo.rows), solo.total) == (["s"], 1)
    world.clock.advance(MINUTE)
    assert "b" not in names((await tenants(world.engine, world.domain)).rows)


async def test_whose_whole_line_is_set_aside(world: World) -> None:
    """It has nothing in line any more, and is seen all the same, with the reason."""
    where = (world.engine, [world.domain])
    slow = [one._replace(action_type="a.slow") for one in some(3, "aside", "free")]
    mixed = [one._replace(action_type="a.slow") for one in some(2, "mixed", "free")]
    await world.enqueue(*slow, *mixed)
    world.clock.advance(10)
    await world.enqueue(*[new(f"x{n}", "mixed", "free") for n in range(4)])
    await pauses.pause(*where, "type:a.slow", by="ana", why="the model is down")
    await world.claim(slots=9)
    found = await tenants(world.engine, world.domain)
    row = {row.tenant_id: row for row in found.rows}["aside"]
    assert row._replace(oldest_ms=0) == TenantRow(
        "aside", "free", 0, 0, 0, held=True, set_aside=3, set_aside_types=("a.slow",)
    )
    assert row.oldest_ms > 0
    row = {row.tenant_id: row for row in found.rows}["mixed"]
    assert (row.waiting, row.running, row.held, row.set_aside) == (1, 3, True, 2)
    assert row.held_why == "3/minute"
    assert found.total == 2
    held = await tenants(world.engine, world.domain, held_only=True)
    assert set(names(held.rows)) == {"aside", "mixed"}
    assert names((await tenants(world.engine, world.domain, top=1)).rows) == ["aside"]

    [limits] = await limits_in_use(world.engine, world.domain, "aside")
    assert (limits.tier, limits.waiting, limits.set_aside, limits.set_aside_types) == (
        "free",
        0,
        3,
        ("a.slow",),
    )
    await pauses.resume(*where, "type:a.slow", by="ana")
    row = {row.tenant_id: row for row in (await tenants(world.engine, world.domain)).rows}["aside"]
    assert (row.waiting, row.set_aside, row.held) == (3, 0, False)


@pytest.mark.parametrize(
    ("stop", "why"),
    [
        ("tier", "2/minute (tier)"),
        ("domain", "2/minute (domain)"),
        ("pause", "paused (tier)"),
        ("tenant", "paused"),
    ],
)
async def test_what_holds_more_than_a_tenant_is_told_of_each(redis: Redis, stop: str, why: str) -> None:
    """Whether a claim has met the tenant since or not."""
    policy = 'default_tier = "free"\n'
    policy += '[domains]\nembedding = ["2/minute"]\n' if stop == "domain" else ""
    policy += "[tiers.gold]\npriority = 1\n[tiers.free]\npriority = 2\n"
    policy += 'tier_limits = ["2/minute"]\n' if stop == "tier" else ""
    world = World(redis, policy)
    await world.worker("w1")
    await world.engine.publish_policy(world.domain)
    await world.enqueue(*some(3, "a", "free"), *some(1, "b", "free"))
    if stop in ("tier", "domain"):
        assert len(await world.claim_ids()) == 2
    elif stop == "pause":
        await pauses.pause(world.engine, [world.domain], "tier:free", by="ana")
    else:
        await overrides.pause_tenant(world.engine, [world.domain], "a", by="ana")
    until_ms = NOW + MINUTE + 1 if stop in ("tier", "domain") else None
    row = {row.tenant_id: row for row in (await tenants(world.engine, world.domain)).rows}["a"]
    assert (row.held, row.held_why, row.held_until_ms) == (True, why, until_ms)
    held = await tenants(world.engine, world.domain, held_only=True)
    assert set(names(held.rows)) >= {"a"}
    limits = await tenant_limits(world.engine, world.domain, "a", "free")
    assert (limits.held, limits.held_why, limits.held_until_ms) == (True, why, until_ms)
    counts = {each.tier: each for each in (await domain_counts(world.engine, world.domain)).tiers}
    assert counts["free"].held >= 2
    assert counts["free"].ready == (1 if stop == "tenant" else 0)
    waits = "a-2" if row.waiting else "b-0"
    assert await state_of(world.engine, world.domain, waits) is State.HELD


async def test_nobody(redis: Redis) -> None:
    world = World(redis)
    found = await tenants(world.engine, world.domain)
    assert (found.rows, found.total, found.truncated) == ([], 0, False)


async def test_counts_page_by_page(crowd: World) -> None:
    await crowd.claim(slots=500)  # three each at most, then held
    counts = {each.tier: each for each in (await domain_counts(crowd.engine, crowd.domain)).tiers}
    free, everything = counts["free"], sum(range(1, MANY + 1))
    started = 3 * (MANY - 2) + 1 + 2
    assert (free.running, free.ready + free.held) == (started, everything - started)
    assert (free.tenants_held, free.tenants_ready) == (MANY - 3, 0)
    assert counts["enterprise"].ready == 0


async def test_names_that_are_near(crowd: World) -> None:
    assert "t05" in await tenants_like(crowd.engine, [crowd.domain, "query"], "t055")
    assert await tenants_like(crowd.engine, [crowd.domain], "zebra") == []
    with pytest.raises(UnknownTierError, match="did you mean 'free'"):
        await check_tier(crowd.engine, crowd.domain, "fre")
