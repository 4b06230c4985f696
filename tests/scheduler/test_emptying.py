"""A policy without a tier that is in use: who is there moves to another one, and nobody is lost."""

from __future__ import annotations

from typing import Any

import pytest
from redis.asyncio import Redis

from scheduler import Outcome, PolicyError, PolicyStore, PolicyVersion, Registration, TierInUseError
from scheduler.admission import INHERITED, admission_of
from scheduler.emptying import go_on_emptying
from scheduler.maintenance import Maintenance
from scheduler.moving import begin, emptied_tiers
from scheduler.pauses import action_type, pause, resume
from scheduler.registry import Registry
from scheduler.schedule_store import ScheduleStore
from scheduler.schedules import Schedule, checked
from scheduler.ticker import Ticker
from tests.scheduler.picture import Picture
from tests.scheduler.test_dry_run import policy, started
from tests.scheduler.world import MINUTE, World, new, some

BOTH = policy(gold="", silver="", free="")
ONE = policy(gold="", free="")
RENAMED = policy(gold="", bronze="", free="")
MOVES = {"silver": "free"}


async def publish(store: PolicyStore, text: str, **moves: str) -> Any:
    return await store.publish(text, by="ana", why="sold no more", moves=moves)


async def newest(store: PolicyStore) -> PolicyVersion:
    found = await store.current()
    assert found
    return found


async def ran(world: World) -> list[tuple[str, str]]:
    """Everything that still runs, with its tier, in the order of its starts."""
    seen: list[tuple[str, str]] = []
    for _ in range(3):
        await world.worker("w1")
        claimed = (await world.claim(slots=50)).actions
        await world.finish(*claimed)
        seen += [(action.action_id, action.tier) for action in claimed]
        world.clock.advance(MINUTE)
    return seen


async def with_everything(world: World) -> Any:
    """One in each state, of a registered tenant and of one that is not; the one that runs."""
    await Registry(world.engine).register("acme", "silver", by="ana")
    await world.enqueue(new("aside", tier="silver")._replace(action_type="embedding.b"))
    await pause(world.engine, [world.domain], action_type("embedding.b"), by="ana")
    assert await world.claim_ids() == []
    await world.enqueue(*some(5, tier="silver"), new("later", tier="silver", due_ms=world.now + MINUTE))
    runs, retried = (await world.claim(slots=2)).actions
    await world.finish(retried, outcome=Outcome.RETRY, due_ms=world.now + MINUTE)
    await world.enqueue(*some(2, "guest", "silver"))
    return runs


EVERYTHING = ["aside", "acme-2", "acme-3", "acme-4", "guest-0", "guest-1", "acme-0", "acme-1", "later"]


@pytest.mark.parametrize("target", ["free", "bronze"], ids=["there already", "new with this policy"])
async def test_whoever_is_there_goes_along(redis: Redis, target: str) -> None:
    world, store = await started(redis, BOTH)
    runs = await with_everything(world)
    text = ONE if target == "free" else RENAMED
    found = await store.dry_run(text, moves={"silver": target})
    [(there, to)] = found.moved
    assert (to, there.tier, there.waiting, there.scheduled, there.running) == (target, "silver", 6, 2, 1)
    assert (there.registered, there.tenants.some, found.occupied) == (1, ["acme", "guest"], [])
    assert (await publish(store, text, silver=target)).version.moves == {"silver": target}
    Picture(await world.snapshot()).check_laws()
    registry = Registry(world.engine)
    assert await registry.get("acme", world.domain) == await registry.get("acme") == Registration(target)
    assert await registry.get("guest", world.domain) is None
    assert await world.finish(runs, outcome=Outcome.RETRY, due_ms=world.now) == [True]
    assert await emptied_tiers(world.engine, world.domain) == {"silver": target}
    await go_on_emptying(world.engine, world.domain)
    await resume(world.engine, [world.domain], action_type("embedding.b"), by="ana")
    assert sorted(await ran(world)) == sorted((name, target) for name in EVERYTHING)
    await go_on_emptying(world.engine, world.domain)
    assert not await emptied_tiers(world.engine, world.domain)
    assert not [key for key in await redis.keys() if b"silver" in key]
    assert not {name for name in await world.unfinished() if not name.startswith(("mailbox", "tags"))}


async def test_order_stays_and_later_actions_come_behind(redis: Redis) -> None:
    world, store = await started(redis, BOTH)
    await Registry(world.engine).register("acme", "silver", by="ana")
    await world.enqueue(*some(6, tier=""))
    await publish(store, ONE, silver="free")
    await world.enqueue(new("after", tier=""))
    assert await ran(world) == [(f"acme-{n}", "free") for n in range(6)] + [("after", "free")]


async def test_who_names_the_old_tier_means_the_new_one(redis: Redis) -> None:
    world, store = await started(redis, BOTH)
    await publish(store, ONE, silver="free")
    said = await world.enqueue(new("claimed", tier="silver"), new("inherited", tier=INHERITED + "silver"))
    assert [(each.accepted, each.tier) for each in said] == [(True, "free"), (True, "free")]
    admission = admission_of(store._engine.policy)
    assert admission.tier_of("acme", Registration("silver"), "") == "free"
    await publish(store, ONE + "\n# a word more\n")
    assert (await newest(store)).moves == MOVES
    await publish(store, BOTH)
    assert (await newest(store)).moves == {}
    assert [each.tier for each in await world.enqueue(new("again", tier="silver"))] == ["silver"]


async def test_from_one_to_the_next(redis: Redis) -> None:
    world, store = await started(redis, policy(a="", b="", c=""))
    await world.enqueue(*some(2, tier="a"))
    await publish(store, policy(b="", c=""), a="b")
    await publish(store, policy(c=""), b="c")
    assert (await newest(store)).moves == {"a": "c", "b": "c"}
    assert await ran(world) == [("acme-0", "c"), ("acme-1", "c")]
    assert [each.tier for each in await world.enqueue(new("x", tier="a"))] == ["c"]


@pytest.mark.parametrize(
    ("moves", "words"),
    [
        ({"silver": "fre"}, "no tier 'fre', did you mean 'free'"),
        ({"silvr": "free"}, "no tier 'silvr', did you mean 'silver'"),
        ({"gold": "free"}, "the policy has the tier 'gold'; only one that it lacks is emptied"),
    ],
)
async def test_a_move_that_cannot_be(redis: Redis, moves: dict[str, str], words: str) -> None:
    world, store = await started(redis, BOTH)
    before = await world.snapshot()
    for attempt in (publish(store, ONE, **moves), store.dry_run(ONE, moves=moves)):
        with pytest.raises(PolicyError, match=words):
            await attempt
    assert await world.snapshot() == before
    assert (await newest(store)).version == 1


async def test_a_schedule_that_names_the_tier_uses_it(redis: Redis) -> None:
    world, store = await started(redis, BOTH)
    schedule = Schedule(
        schedule_id="nightly", action_type="embedding.generate", tenant_id="acme", payload=b"{}",
        tier="silver", every_ms=MINUTE, anchor_ms=world.now,
    )  # fmt: skip
    await ScheduleStore(world.engine).create(world.domain, checked(schedule), by="ana")
    with pytest.raises(TierInUseError, match=r"silver has 1 tenant .*, 1 schedules"):
        await publish(store, ONE)
    await publish(store, ONE, silver="free")
    world.clock.advance(MINUTE)
    await Ticker(world.engine, [world.domain]).tick()
    assert [tier for _, tier in await ran(world)] == ["free"]
    await go_on_emptying(world.engine, world.domain)
    assert not await emptied_tiers(world.engine, world.domain)


@pytest.mark.parametrize("after", ["the first moves", "the version"])
async def test_a_publisher_that_dies(redis: Redis, monkeypatch: pytest.MonkeyPatch, after: str) -> None:
    """Before the version is there nothing has changed but tiers; after it, any worker does the rest."""
    world, store = await started(redis, BOTH)
    runs = await with_everything(world)

    async def die(*_: Any) -> Any:
        raise ConnectionError("the publisher is gone")

    monkeypatch.setattr(store, "_add" if after == "the first moves" else "_put_to_work", die)
    with pytest.raises(ConnectionError):
        await publish(store, ONE, silver="free")
    other = World(redis, BOTH)
    other.clock = other.engine.clock = world.clock
    policies = PolicyStore(other.engine)
    if after == "the first moves":
        await publish(policies, ONE, silver="free")
    steady = [100.0]
    maintenance = Maintenance(other.engine, [world.domain], policies=policies, steady_s=lambda: steady[0])
    maintenance._go_on_at_s = 0.0
    await maintenance.tick()
    assert other.engine.policy.names() == ["gold", "free"]
    await world.finish(runs, outcome=Outcome.RETRY, due_ms=world.now)
    steady[0] += 60.0
    await maintenance.tick()
    await resume(world.engine, [world.domain], action_type("embedding.b"), by="ana")
    assert sorted(await ran(other)) == sorted((name, "free") for name in EVERYTHING)


async def test_who_is_on_another_move_is_moved_after_it(redis: Redis) -> None:
    world, store = await started(redis, BOTH)
    await world.enqueue(*some(4, tier="silver"))
    [mover] = await begin(world.engine, [world.domain], "acme", "gold", by="bo", most=2)
    await mover.step()
    await publish(store, ONE, silver="free")
    assert await emptied_tiers(world.engine, world.domain) == MOVES
    await mover.run()
    await go_on_emptying(world.engine, world.domain)
    assert not await emptied_tiers(world.engine, world.domain)
    assert len(await ran(world)) == 4


async def test_a_domain_to_come(redis: Redis) -> None:
    world, store = await started(redis, BOTH)
    await Registry(world.engine).register("acme", "silver", by="ana")
    await publish(store, ONE, silver="free")
    later = World(redis, ONE, domain="query")
    await PolicyStore(later.engine).join(["query"], by="worker")
    assert await Registry(later.engine).get("acme", "query") == Registration("free")
