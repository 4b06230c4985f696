"""How what binds an action comes about: worlds for the cases of `why`."""

from __future__ import annotations

from scheduler import Outcome, Policy, overrides, pauses, roster
from tests.scheduler.world import DAY, MINUTE, NOW, World, new, some

POLICY = """
default_tier = "free"
[tiers.enterprise]
priority = 1
[tiers.free]
priority = 3
limits = ["3/minute", "5/day"]
[tiers.solo]
priority = 4
max_concurrency = 1
"""
MIDNIGHT = NOW - NOW % DAY + DAY


async def nothing(world: World) -> None:
    await world.enqueue(*some(3, "acme"))


async def idle_worker(world: World) -> None:
    await world.worker("w1")
    assert not await world.claim_ids()  # it sleeps
    await world.redis.zadd(world.key("sleepers"), {"w1": NOW, "w2": NOW})  # and one whose wake-up got lost
    await world.enqueue(*some(3, "acme"))


async def busy_worker(world: World) -> None:
    await world.worker("w1", "w2")
    await world.enqueue(*some(5, "acme"))
    await world.claim(slots=2)


async def other_tenants(world: World) -> None:
    await world.worker("w1")
    await world.enqueue(*some(4, "b", "free"), *some(4, "e"), *some(4, "f"), *some(1, "acme", "free"))


async def used_up(world: World) -> None:
    await world.worker("w1")
    await world.enqueue(*some(8, "acme", "free"))
    await world.claim()


async def before_its_turn(world: World) -> None:
    await world.worker("w1")
    await world.enqueue(*some(5, "acme", "free"))


async def all_slots(world: World) -> None:
    await world.worker("w1")
    await world.enqueue(*some(3, "acme", "solo"))
    await world.claim()


async def later(world: World) -> None:
    await world.worker("w1")
    await world.enqueue(new("acme-0", due_ms=NOW + MINUTE))


async def later_and_limited(world: World) -> None:
    await used_up(world)
    await world.enqueue(new("acme-late", "acme", "free", due_ms=NOW + 5_000))


async def failed(world: World, outcome: Outcome = Outcome.RETRY) -> None:
    await world.worker("w1")
    await world.enqueue(new("acme-0"))
    [claimed] = (await world.claim()).actions
    world.clock.advance(2_000)
    reason = "ValueError: no\x1b[31m such thing\nin line 2"
    await world.finish(claimed, outcome=outcome, due_ms=NOW + 10_000, reason=reason)


async def put_off(world: World) -> None:
    await failed(world, Outcome.SNOOZED)


async def domain_limit(world: World) -> None:
    await before_its_turn(world)
    limited = World(world.redis, Policy.parse(f'{POLICY}[domains]\n{world.domain} = ["1/minute"]\n'))
    await limited.engine.publish_policy(world.domain)
    await limited.claim(slots=5)


async def tier_limit(world: World) -> None:
    text = POLICY.replace('limits = ["3/minute", "5/day"]', 'tier_limits = ["2/minute"]')
    limited = World(world.redis, text)
    await limited.engine.publish_policy(world.domain)
    await before_its_turn(world)
    await limited.claim(slots=5)


async def named_limit(world: World) -> None:
    named = '[limits.openai]\nrate = "1/minute"\naction_types = ["embedding.generate"]\n'
    limited = World(world.redis, POLICY + named)
    await limited.engine.publish_policy(world.domain)
    await world.worker("w1")
    await world.enqueue(*some(3, "acme"), *some(1, "zoe", "solo"))
    await limited.claim(slots=1)
    await world.enqueue(*some(1, "bob", "solo"))


async def named_limit_held(world: World) -> None:
    await named_limit(world)
    await world.claim(slots=2)


async def quiet(world: World) -> None:
    await nothing(world)
    await world.worker("w1", "w2")
    for name, state in (("w1", "quiet"), ("w2", "draining")):
        await roster.describe(world.engine, world.domain, name, {"state": state}, claims=False)


async def no_handler(world: World) -> None:
    await nothing(world)
    await world.worker("w1", "w2")
    for name, handles in (("w1", ["embedding.drop"]), ("w2", ["embedding.make", "embedding.drop"])):
        info = {"state": "running", "handles": handles}
        await roster.describe(world.engine, world.domain, name, info, claims=True)


async def one_may_handle(world: World) -> None:
    await no_handler(world)
    await world.worker("w3")  # an older version, or a service that takes anything


async def no_tier(world: World) -> None:
    await nothing(world)
    other = World(world.redis, 'default_tier = "gold"\n[tiers.gold]\npriority = 1\n')
    await other.engine.publish_policy(world.domain)


async def entry_gone(world: World) -> None:
    await nothing(world)
    place = await world.redis.hget(world.key("actions"), "acme-0")
    await world.redis.xdel(world.stream(), place.split(b" ")[1])


async def too_late(world: World) -> None:
    await world.worker("w1")
    await world.enqueue(*some(4, "acme", "free"), new("acme-late", "acme", "free", deadline_ms=NOW + 1_000))
    await world.claim()


async def lease_over(world: World) -> None:
    await busy_worker(world)
    world.clock.advance(world.engine.lease_ms + 3_000)


async def tenant_paused(world: World) -> None:
    await nothing(world)
    await overrides.pause_tenant(world.engine, [world.domain], "acme", by="ana", why="unpaid")


async def tier_paused(world: World) -> None:
    await before_its_turn(world)
    await pauses.pause(world.engine, [world.domain], pauses.tier("free"), by="ana")


async def domain_paused(world: World) -> None:
    await nothing(world)
    await world.worker("w1")
    await pauses.pause(world.engine, [world.domain], pauses.DOMAIN, by="ana", why="index rebuild")


async def type_paused(world: World) -> None:
    await nothing(world)
    await world.worker("w1")
    what = pauses.action_type("embedding.generate")
    await pauses.pause(world.engine, [world.domain], what, by="ana", why="model is down")
    await world.claim(slots=1)


async def pressed(world: World) -> None:
    await before_its_turn(world)
    await world.redis.zadd(world.key("backpressure"), {"acme:free": NOW + 20_000})


async def own_limits(world: World) -> None:
    await before_its_turn(world)
    await overrides.set_override(
        world.engine, [world.domain], "acme", by="ana", limits=["1/minute", "2/month"]
    )
