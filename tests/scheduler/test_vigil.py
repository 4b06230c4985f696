"""Who is dead: an ended lease and a missing heartbeat, whatever clocks say."""

from __future__ import annotations

import pytest

from scheduler.vigil import Vigil
from tests.scheduler.world import World

HOUR = 3_600_000


class Watch:
    """A vigil over the world's domain, with a steady clock that goes with the world's."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.steady_s = 0.0
        self.vigil = Vigil(world.engine, world.domain, steady_s=lambda: self.steady_s)

    async def dead(self) -> list[str]:
        return [worker.worker_id for worker in await self.vigil.dead()]

    def pass_s(self, seconds: float) -> None:
        self.steady_s += seconds
        self.world.clock.advance(seconds * 1000)


@pytest.fixture
def watch(world: World) -> Watch:
    return Watch(world)


async def test_a_worker_with_a_fresh_lease_is_not_even_watched(watch: Watch) -> None:
    watch.pass_s(4.9)
    assert await watch.dead() == []
    assert watch.vigil.look_again_in_s is None


async def test_one_that_dies_is_known_to_be_dead_within_five_seconds_of_its_leases_end(watch: Watch) -> None:
    asked_at = []
    while not await watch.dead():
        asked_at.append(watch.steady_s)
        watch.pass_s(min(watch.vigil.look_again_in_s or 5.0, 5.0))
    lease_s = watch.world.engine.lease_ms / 1000
    assert lease_s < watch.steady_s <= lease_s + 5
    assert len(asked_at) <= 5


async def test_it_is_asked_again_when_it_may_be_so(watch: Watch) -> None:
    watch.pass_s(14.0)
    assert await watch.dead() == []
    assert watch.vigil.look_again_in_s == pytest.approx(9.0)  # by then a heartbeat would have come
    watch.pass_s(9.0)
    assert await watch.dead() == ["w1"]


async def test_a_jump_of_the_clock_kills_nobody_who_lives(watch: Watch) -> None:
    watch.pass_s(10.0)
    watch.world.clock.advance(2 * HOUR)
    for _ in range(20):
        assert await watch.dead() == []
        watch.pass_s(5.0)
        watch.world.clock.advance(-2 * HOUR)
        await watch.world.engine.extend(watch.world.domain, "w1")  # its own clock did not jump
        watch.world.clock.advance(2 * HOUR)


async def test_a_worker_whose_clock_is_far_behind_lives(watch: Watch) -> None:
    await watch.world.redis.zadd(watch.world.key("workers"), {"slow": 1_000})
    for beat in range(20):
        assert "slow" not in await watch.dead()
        watch.pass_s(5.0)
        await watch.world.redis.zadd(watch.world.key("workers"), {"slow": 2_000 + beat})


async def test_what_was_decided_holds_only_while_the_lease_stands(watch: Watch) -> None:
    await watch.dead()
    watch.pass_s(16.0)
    await watch.dead()
    watch.pass_s(9.0)
    (dead,) = await watch.vigil.dead()
    engine, domain = watch.world.engine, watch.world.domain
    await engine.extend(domain, "w1")  # a late heartbeat arrives in the last moment
    assert await engine.reclaim(domain, worker_id="w1", lease_until_ms=dead.lease_until_ms) == (0, 0)
    assert (await engine.extend(domain, "w1")).held


async def test_after_an_outage_everybody_has_time_for_a_heartbeat(watch: Watch) -> None:
    """While the server was away no heartbeat reached it: an ended lease says nothing about its worker."""
    watch.pass_s(14.0)
    assert await watch.dead() == []
    watch.pass_s(45.0)
    assert await watch.dead() == []
    watch.pass_s(5.0)
    await watch.world.engine.extend(watch.world.domain, "w1")
    watch.pass_s(5.0)
    assert await watch.dead() == []


async def test_who_always_looks_late_finds_the_dead_all_the_same(watch: Watch) -> None:
    await watch.dead()
    for _ in range(3):
        watch.pass_s(12.0)
        dead = await watch.dead()
    assert dead == ["w1"]


async def test_the_servers_clock_was_ahead_while_workers_looked_at_it(watch: Watch) -> None:
    """They are back in time, their leases were given ahead of it; whoever is ahead himself sees them end."""
    engine, domain = watch.world.engine, watch.world.domain
    watch.world.clock.advance(2 * HOUR)
    await engine.extend(domain, "w1")
    watch.pass_s(60.0)
    for _ in range(20):
        assert await watch.dead() == []
        watch.pass_s(5.0)
        watch.world.clock.advance(-2 * HOUR)
        await engine.extend(domain, "w1")
        watch.world.clock.advance(2 * HOUR)
