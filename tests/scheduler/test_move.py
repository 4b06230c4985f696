"""move: a tenant's backlog goes along to another tier, in order, nothing lost, under traffic too."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from redis.asyncio import Redis

from scheduler import (
    Outcome,
    Registration,
    Registry,
    ScriptError,
    UnknownTierError,
    pauses,
    scripts,
)
from scheduler.overrides import get_override, pause_tenant, set_override
from tests.scheduler.picture import Picture
from tests.scheduler.world import MINUTE, NOW, World, new, some

TIERS = """
default_tier = "free"
[tiers.gold]
priority = 1
limits = ["20/minute"]
[tiers.free]
priority = 2
limits = ["20/minute"]
"""


@pytest.fixture
async def world(redis: Redis) -> World:
    world = World(redis, TIERS)
    await world.worker("w1", "w2")
    await world.engine.publish_policy(world.domain)
    return world


async def check(world: World) -> None:
    Picture(await world.snapshot()).check_laws()


async def go(world: World, tier: str = "gold", most: int = 500) -> int:
    moved = await Registry(world.engine).move("acme", tier, by="ana", why="bought it", most=most)
    await check(world)
    return moved


@pytest.mark.parametrize("most", [2, 5, 500])
async def test_everything_that_waits_goes_in_its_order(world: World, most: int) -> None:
    await world.enqueue(
        *some(6, tier="free"), *[new(f"later-{n}", tier="free", due_ms=NOW + n + 1) for n in range(3)]
    )
    retried, given, runs = (await world.claim(slots=3)).actions
    await world.finish(retried, outcome=Outcome.RETRY, due_ms=NOW)
    await world.engine.release(world.domain, "w1", [given])
    assert await go(world, most=most) == 8
    picture = await world.snapshot()
    assert picture["stream acme:gold"]["entries"] == ["acme-0", "acme-1", "acme-3", "acme-4", "acme-5"]
    assert picture["stream acme:free"]["entries"] == ["acme-2"]
    assert picture["delayed_count"] == {"acme:gold": "3"}
    assert "moving" not in picture
    assert picture.get("overrides") is None
    assert await Registry(world.engine).get("acme") == Registration("gold")
    claimed = (await world.claim("w2")).actions
    assert [(each.action_id, each.attempt, each.tier) for each in claimed] == [
        ("acme-0", 2, "gold"), *[(f"acme-{n}", 1, "gold") for n in (1, 3, 4, 5)]
    ]  # fmt: skip
    world.clock.advance(10)
    assert await world.claim_ids("w2") == ["later-0", "later-1", "later-2"]
    assert await world.finish(runs) == [True]
    await check(world)


async def test_behind_what_waits_there_and_before_what_comes_later(world: World) -> None:
    await world.enqueue(new("x1", tier="free"))
    await world.engine.release(world.domain, "w1", (await world.claim()).actions)
    await Registry(world.engine).register("acme", "gold", by="ana")
    await world.enqueue(new("there", tier="gold"), new("x2", tier="free"))
    await go(world)
    await world.enqueue(new("after", tier=""))
    claimed = (await world.claim()).actions
    assert [(each.action_id, each.attempt) for each in claimed] == [
        ("there", 1), ("x1", 1), ("x2", 1), ("after", 1)
    ]  # fmt: skip


@pytest.mark.parametrize("strategy", ["moving-window", "fixed-window", "sliding-window-counter", "calendar"])
async def test_usage_adds_up_whatever_the_strategy(redis: Redis, strategy: str) -> None:
    rate = "20/day" if strategy == "calendar" else "20/minute"
    limit = f'limits = [{{ rate = "{rate}", strategy = "{strategy}" }}]'
    world = World(redis, TIERS.replace('limits = ["20/minute"]', limit))
    await world.worker("w1")
    await world.enqueue(*some(40, tier="free"))
    assert len((await world.claim(slots=7)).actions) == 7
    world.clock.advance(1_000)
    await world.enqueue(*[new(f"g{n}", tier="gold") for n in range(5)])
    assert len((await world.claim(slots=5)).actions) == 5
    await go(world)
    assert len((await world.claim(slots=20)).actions) == 8


async def test_a_foreign_key_in_the_way(world: World) -> None:
    await world.enqueue(*some(2, tier="free"))
    await world.redis.set(world.stream(tier="gold"), "mine")
    with pytest.raises(ScriptError, match="is not a stream; DEL or RENAME"):
        await Registry(world.engine).move("acme", "gold", by="ana")
    await world.redis.delete(world.stream(tier="gold"))
    assert await go(world) == 2


async def test_a_retry_due_later_and_what_is_set_aside_go_too(world: World) -> None:
    await world.enqueue(*some(3, tier="free"))
    [first, *_] = (await world.claim(slots=1)).actions
    await world.finish(first, outcome=Outcome.RETRY, due_ms=NOW + MINUTE)
    await pauses.pause(world.engine, [world.domain], "type:embedding.generate", by="ana")
    assert await world.claim_ids() == []
    await go(world)
    assert not [name for name in await world.snapshot() if "acme:free" in name]
    await pauses.resume(world.engine, [world.domain], "type:embedding.generate", by="ana")
    assert await world.claim_ids() == ["acme-1", "acme-2"]
    world.clock.advance(MINUTE)
    [again] = (await world.claim()).actions
    assert (again.action_id, again.attempt, again.tier) == ("acme-0", 2, "gold")
    await check(world)


async def test_moving_back_and_forth_earns_nothing(world: World) -> None:
    await world.enqueue(*some(30, tier="free"))
    assert len((await world.claim(slots=15)).actions) == 15
    await go(world)
    assert len((await world.claim(slots=15)).actions) == 5
    await go(world, "free")
    assert await world.claim_ids(slots=15) == []
    await go(world)
    assert await world.claim_ids(slots=15) == []
    world.clock.advance(MINUTE + 1)
    assert len((await world.claim(slots=15)).actions) == 10


async def test_a_pause_by_an_operator_stays(world: World) -> None:
    await world.enqueue(*some(9, tier="free"))
    await pause_tenant(world.engine, [world.domain], "acme", by="bo", why="bill")
    await go(world, most=2)
    override = await get_override(world.engine, world.domain, "acme")
    assert override
    assert (override.paused, override.paused_why) == (True, "bill")


async def test_unknown_tier_changes_nothing(world: World) -> None:
    before = await world.snapshot()
    with pytest.raises(UnknownTierError, match="did you mean 'gold'"):
        await Registry(world.engine).move("acme", "golf", by="ana")
    assert await world.snapshot() == before


async def test_under_traffic_nothing_is_lost_and_the_order_stays(world: World) -> None:
    """Two movers at once, an enqueuer and a worker that retries some; every action runs, in order."""
    sent = 300
    first_seen: list[str] = []
    done: set[str] = set()
    enqueued = asyncio.Event()

    async def enqueue() -> None:
        for n in range(sent):
            assert (await world.enqueue(new(f"x{n:04}", tier="")))[0].accepted
        enqueued.set()

    async def work() -> None:
        while len(done) < sent:
            for action in (await world.claim(slots=3)).actions:
                if action.action_id not in first_seen:
                    first_seen.append(action.action_id)
                again = action.attempt == 1 and action.action_id.endswith("7")
                outcome = Outcome.RETRY if again else Outcome.COMPLETED
                assert await world.finish(action, outcome=outcome, due_ms=world.now) == [True]
                if not again:
                    done.add(action.action_id)
            world.clock.advance(5_000)
            await world.worker("w1")
            await asyncio.sleep(0)

    registry = Registry(world.engine)

    async def movers() -> None:
        tiers = ["gold", "free"] * 3
        while not enqueued.is_set() or tiers:
            tier = tiers.pop() if tiers else "gold"
            await asyncio.gather(*(registry.move("acme", tier, by=by, most=7) for by in ("ana", "bo")))

    async with asyncio.timeout(60):
        await asyncio.gather(enqueue(), work(), movers())
    assert done == {f"x{n:04}" for n in range(sent)}
    assert first_seen == sorted(first_seen)
    assert not {name for name in await world.unfinished() if not name.startswith(("mailbox", "tags"))}


@pytest.mark.parametrize("operator", ["sets a weight", "pauses"])
async def test_what_an_operator_says_meanwhile_stays_and_nothing_else(
    world: World, monkeypatch: pytest.MonkeyPatch, operator: str
) -> None:
    where = (world.engine, [world.domain], "acme")
    await world.enqueue(*some(6, tier="free"))
    run, steps = scripts.run, []

    async def and_then(redis: Redis, script: scripts.Script, root: str, args: list[Any]) -> Any:
        reply = await run(redis, script, root, args)
        if script is scripts.load("move"):
            steps.append(reply)
            if len(steps) == 1 and operator == "pauses":
                await pause_tenant(*where, by="bo", why="fraud")
            elif len(steps) == 1:
                await set_override(*where, by="bo", why="promised", weight=2)
        return reply

    monkeypatch.setattr(scripts, "run", and_then)
    await go(world, most=2)
    said = await get_override(world.engine, world.domain, "acme")
    assert said is not None
    if operator == "pauses":
        assert (said.paused, said.paused_by, said.paused_why) == (True, "bo", "fraud")
        assert await world.claim_ids() == []
    else:
        assert (said.paused, said.weight, said.by, said.why) == (False, 2.0, "bo", "promised")
        assert await world.claim_ids() == [f"acme-{n}" for n in range(6)]
