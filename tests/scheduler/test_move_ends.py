"""A move ends by itself: whoever drives it may die at any command, be slow, or be one of several."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError

from scheduler import Claimed, Outcome, Registration, Registry, RegistryError, scripts
from scheduler.maintenance import Maintenance
from scheduler.moving import Continuing, begin, moves
from scheduler.overrides import end_own_pause, get_override, resume_tenant
from tests.scheduler.picture import Picture
from tests.scheduler.world import MINUTE, NOW, World, new, some

TIERS = """
default_tier = "free"
[tiers.gold]
priority = 1
[tiers.silver]
priority = 2
[tiers.free]
priority = 3
"""


class DriverDiedError(Exception):
    """The process is gone."""


class Mortal(Redis):
    """A connection whose process dies at its n-th command: before the server gets it, or after it did."""

    left = 1_000_000
    too_late = False

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        self.left -= 1
        if self.left < 0 or (not self.left and not self.too_late):
            raise DriverDiedError
        reply = await super().execute_command(*args, **options)  # type: ignore[no-untyped-call]
        if not self.left:
            raise DriverDiedError
        return reply

    async def execute_together(self, commands: list[tuple[Any, ...]]) -> list[Any]:
        return [await self.execute_command(*command) for command in commands]


@pytest.fixture
async def driver(redis_url: str) -> AsyncIterator[Mortal]:
    async with Mortal.from_url(
        redis_url, protocol=2, socket_timeout=10, retry=Retry(NoBackoff(), 0)
    ) as redis:
        yield redis


@pytest.fixture
async def world(redis: Redis) -> World:
    world = World(redis, TIERS)
    await world.worker("w1")
    await world.engine.publish_policy(world.domain)
    return world


async def check(world: World) -> None:
    Picture(await world.snapshot()).check_laws()


async def with_a_backlog(world: World) -> None:
    """Seven in line, one of them retried, one due later, one due for another attempt."""
    await world.enqueue(*some(8, tier="free"), new("later", tier="free", due_ms=NOW + MINUTE))
    first, second = (await world.claim(slots=2)).actions
    await world.finish(first, outcome=Outcome.RETRY, due_ms=NOW)
    await world.finish(second, outcome=Outcome.RETRY, due_ms=NOW + MINUTE)


async def run_all(world: World) -> list[str]:
    """Everything that waits, as it starts."""
    seen: list[str] = []
    for _ in range(4):
        claimed = (await world.claim(slots=50)).actions
        await world.finish(*claimed)
        seen += [action.action_id for action in claimed]
        world.clock.advance(MINUTE)
        await world.worker("w1")
    return seen


@pytest.mark.timeout(120)
@pytest.mark.parametrize("too_late", [False, True], ids=["before", "after"])
async def test_a_driver_that_dies_at_any_command(world: World, driver: Mortal, too_late: bool) -> None:
    """Whatever is the last that it did, maintenance of some worker ends what it began."""
    survived, deaths_with_a_record = False, 0
    for at in range(1, 200):
        await world.redis.flushdb()
        world.clock.set(NOW)
        await world.worker("w1")
        await world.engine.publish_policy(world.domain)
        await world.redis.sadd(world.keys.shared("domains"), world.domain)
        await scripts.teach(world.redis, ["move", "override"])
        await with_a_backlog(world)
        driver.left, driver.too_late = at, too_late
        world.engine.redis = driver
        try:
            await Registry(world.engine).move("acme", "gold", by="ana", most=3)
            survived = True
        except DriverDiedError:
            pass
        finally:
            world.engine.redis = world.redis
        await check(world)
        begun = await moves(world.engine, world.domain)
        deaths_with_a_record += bool(begun)
        await world.enqueue(new("meanwhile", tier=""))
        continuing = Continuing(world.engine, world.domain, most=3)
        while await continuing.round(steps=2):
            await check(world)
        await check(world)
        assert await get_override(world.engine, world.domain, "acme") is None, at
        assert not await moves(world.engine, world.domain), at
        registered = await Registry(world.engine).get("acme", world.domain)
        assert registered == (Registration("gold") if begun or registered else None), at
        assert await run_all(world) == [f"acme-{n}" for n in (0, 2, 3, 4, 5, 6, 7)] + [
            "meanwhile", "acme-1", "later"
        ], at  # fmt: skip
        left = await world.unfinished()
        assert not {name for name in left if not name.startswith(("mailbox", "tags"))}, at
        if survived:
            break
    assert survived
    assert deaths_with_a_record > 10


async def test_maintenance_goes_on_every_half_minute_in_bounded_rounds(world: World) -> None:
    await world.enqueue(*some(100, tier="free"))
    await begin(world.engine, [world.domain], "acme", "gold", by="ana")
    steady = [0.0]
    maintenance = Maintenance(world.engine, [world.domain], steady_s=lambda: steady[0])
    maintenance._moves = {world.domain: Continuing(world.engine, world.domain, most=3)}
    maintenance._go_on_at_s = 10.0
    await maintenance.tick()
    assert (await moves(world.engine, world.domain))["acme"].moved == 0
    steady[0] = 10.0
    assert await maintenance.tick() == 0.0
    assert (await moves(world.engine, world.domain))["acme"].moved == 57  # one step for silver
    override = await get_override(world.engine, world.domain, "acme")
    assert override
    assert (override.paused, override.paused_by) == (True, "ana")
    while await maintenance.tick() == 0.0:
        await check(world)
    assert not await moves(world.engine, world.domain)
    assert 30 <= maintenance._go_on_at_s <= 50
    assert await run_all(world) == [f"acme-{n}" for n in range(100)]


async def test_one_move_that_cannot_go_on_stops_no_other(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    await world.enqueue(*some(2, "a", "free"), *some(2, "b", "free"))
    await world.redis.set(world.stream("a", "gold"), "mine")
    for tenant in "ab":
        await begin(world.engine, [world.domain], tenant, "gold", by="ana")
    continuing = Continuing(world.engine, world.domain)
    assert not await continuing.round()
    assert set(await moves(world.engine, world.domain)) == {"a"}
    assert "is not a stream; DEL or RENAME it" in caplog.text
    await world.redis.delete(world.stream("a", "gold"))
    assert not await continuing.round()
    assert not await moves(world.engine, world.domain)
    assert sorted(await run_all(world)) == ["a-0", "a-1", "b-0", "b-1"]


async def test_a_foreign_key_where_a_move_begins_stops_no_other(world: World) -> None:
    await world.enqueue(*some(2, "a", "free"), *some(2, "b", "free"))
    await world.redis.delete(world.stream("a", "free"))
    await world.redis.set(world.stream("a", "free"), "mine")
    for tenant in "ab":
        await begin(world.engine, [world.domain], tenant, "gold", by="ana")
    assert not await Continuing(world.engine, world.domain).round()
    assert not await moves(world.engine, world.domain)
    assert await run_all(world) == ["b-0", "b-1"]


async def test_a_slow_driver_disturbs_nobody_once_another_has_ended_its_move(world: World) -> None:
    await world.enqueue(*some(10, tier="free"))
    [slow] = await begin(world.engine, [world.domain], "acme", "gold", by="ana", most=2)
    assert not await slow.step()
    while await Continuing(world.engine, world.domain, most=2).round():
        pass
    before = await world.snapshot()
    await slow._pause()  # it had found something left
    assert await world.snapshot() == before
    assert await slow.step()
    assert await world.snapshot() == before
    assert await run_all(world) == [f"acme-{n}" for n in range(10)]


async def test_a_late_driver_does_nothing_to_the_next_move(world: World) -> None:
    await world.enqueue(*some(10, tier="free"))
    [late] = await begin(world.engine, [world.domain], "acme", "gold", by="ana", most=2)
    await late.step()
    await Registry(world.engine).move("acme", "gold", by="bo", most=2)
    [back] = await begin(world.engine, [world.domain], "acme", "free", by="bo", most=2)
    await back.step()
    before = await world.snapshot()
    assert await late.step()
    assert await late._end()
    assert await world.snapshot() == before
    await back.run()
    assert await Registry(world.engine).get("acme", world.domain) == Registration("free")
    assert await run_all(world) == [f"acme-{n}" for n in range(10)]


async def test_a_contrary_move_is_refused_until_this_one_has_ended(world: World) -> None:
    await world.redis.sadd(world.keys.shared("domains"), world.domain)
    await world.enqueue(*some(9, tier="free"))
    registry = Registry(world.engine)
    [mover] = await begin(world.engine, [world.domain], "acme", "gold", by="ana", most=4)
    await mover.step()
    before = await world.snapshot()
    with pytest.raises(RegistryError, match=r"on its way to tier 'gold' in embedding \(by ana\)"):
        await registry.move("acme", "silver", by="bo")
    with pytest.raises(RegistryError, match="ends by itself"):
        await world.engine.move(world.domain, "acme", "silver", by="bo")
    assert await world.snapshot() == before
    assert await registry.get("acme") is None
    await Continuing(world.engine, world.domain).round()
    assert await registry.move("acme", "silver", by="bo") == 9
    assert await registry.get("acme") == await registry.get("acme", world.domain) == Registration("silver")
    assert await run_all(world) == [f"acme-{n}" for n in range(9)]


async def test_a_link_that_breaks_at_the_very_end_is_no_end(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.enqueue(*some(9, tier="free"))
    await begin(world.engine, [world.domain], "acme", "gold", by="ana", most=3)
    broken = False

    async def breaking(*args: Any, **options: Any) -> None:
        nonlocal broken
        if not broken:
            broken = True
            raise RedisConnectionError("the link broke")
        await end_own_pause(*args, **options)

    monkeypatch.setattr("scheduler.moving.end_own_pause", breaking)
    continuing = Continuing(world.engine, world.domain, most=3)
    with pytest.raises(RedisConnectionError):
        await continuing.round()
    assert not await continuing.round()
    assert await get_override(world.engine, world.domain, "acme") is None
    assert not await moves(world.engine, world.domain)


async def test_the_next_move_ends_the_pause_of_one_that_has_arrived(world: World) -> None:
    await world.enqueue(*some(5, tier="free"))
    [mover] = await begin(world.engine, [world.domain], "acme", "gold", by="ana", most=2)
    while not (await moves(world.engine, world.domain))["acme"].arrived:
        await mover._look()
        await mover._ask("step", "silver")
        await mover._ask("last", "free")
    assert await world.engine.move(world.domain, "acme", "silver", by="bo", most=2) == 5
    assert await get_override(world.engine, world.domain, "acme") is None
    assert await run_all(world) == [f"acme-{n}" for n in range(5)]


async def test_an_operator_who_resumes_meanwhile_ends_nothing_for_good(world: World) -> None:
    await world.enqueue(*some(9, tier="free"))
    [mover] = await begin(world.engine, [world.domain], "acme", "gold", by="ana", most=2)
    await mover.step()
    await resume_tenant(world.engine, [world.domain], "acme", by="bo")
    assert await mover.run() == 9
    assert await get_override(world.engine, world.domain, "acme") is None
    assert not await moves(world.engine, world.domain)


async def run(world: World, action: Claimed, first_seen: list[str], done: set[str]) -> None:
    """One attempt; of every tenth action the first fails."""
    if action.action_id not in first_seen:
        first_seen.append(action.action_id)
    again = action.attempt == 1 and action.action_id.endswith("7")
    outcome = Outcome.RETRY if again else Outcome.COMPLETED
    assert await world.finish(action, outcome=outcome, due_ms=world.now) == [True]
    if not again:
        done.add(action.action_id)


async def test_drivers_die_under_traffic_and_nothing_is_lost(world: World, driver: Mortal) -> None:
    """Clients enqueue, a worker claims and retries some, drivers die at random, maintenance goes on."""
    await world.redis.sadd(world.keys.shared("domains"), world.domain)
    sent, chance = 200, random.Random(7)
    first_seen: list[str] = []
    done: set[str] = set()
    mortal = World(driver, TIERS)
    mortal.engine.clock = world.clock
    deaths = 0
    await scripts.teach(world.redis, ["move", "override"])

    async def enqueue() -> None:
        for n in range(sent):
            assert (await world.enqueue(new(f"x{n:04}", tier="")))[0].accepted

    async def work() -> None:
        while len(done) < sent:
            for action in (await world.claim(slots=3)).actions:
                await run(world, action, first_seen, done)
            world.clock.advance(1_000)
            await world.worker("w1")

    async def drive() -> None:
        nonlocal deaths
        while len(done) < sent:
            driver.left, driver.too_late = chance.randint(1, 40), chance.random() < 0.5
            try:
                await Registry(mortal.engine).move("acme", chance.choice(["gold", "free"]), by="ana", most=4)
            except (DriverDiedError, RegistryError):
                deaths += 1

    async def maintain() -> None:
        while len(done) < sent:
            await Continuing(world.engine, world.domain, most=4).round(steps=3)
            await asyncio.sleep(0)

    async with asyncio.timeout(60):
        await asyncio.gather(enqueue(), work(), drive(), maintain())
    while await Continuing(world.engine, world.domain).round():
        pass
    assert deaths > 5
    assert done == {f"x{n:04}" for n in range(sent)}
    assert first_seen == sorted(first_seen)
    assert await get_override(world.engine, world.domain, "acme") is None
    assert not {name for name in await world.unfinished() if not name.startswith(("mailbox", "tags"))}
