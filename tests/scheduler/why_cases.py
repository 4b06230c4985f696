"""What binds an action, case by case: how it comes about, and what `why` says of it."""

# ruff: noqa: E501 - sentences are compared as they are read

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from scheduler import Outcome, Policy, State, overrides, pauses
from scheduler.why import Cause
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


class Case(NamedTuple):
    """Which action after what, and what is said of it."""

    given: Callable[[World], Awaitable[None]]
    action_id: str
    state: State
    causes: list[Cause]
    ahead: int | None
    earliest_ms: int | None
    sentence: str


C = Cause
CASES = {
    "no worker": Case(
        nothing, "acme-0", State.READY, [C.NO_WORKER], 0, NOW,
        "acme-0 is next in acme's line, but no worker serves embedding: start one (nooble worker).",
    ),
    "nothing binds": Case(
        idle_worker, "acme-0", State.READY, [], 0, NOW,
        "acme-0 is next in acme's line and nothing holds it: it starts with the next claim (1 idle worker; "
        "should it stay like this, read the worker's log).",
    ),
    "workers busy": Case(
        busy_worker, "acme-3", State.READY, [C.WORKERS_BUSY, C.OWN_LINE], 1, NOW,
        "acme-3 is 2nd in acme's line and 2 workers of embedding have no free slot: it starts as soon as one is "
        "free, after about 1 other start, 1 of them its tenant's own.",
    ),
    "others first": Case(
        other_tenants, "acme-0", State.READY, [C.WORKERS_BUSY, C.TIERS_AHEAD], 0, NOW,
        "acme-0 is next in acme's line and 1 worker of embedding has no free slot: it starts as soon as one is "
        "free, after about 8 other starts.",
    ),
    "other tenants first": Case(
        other_tenants, "b-1", State.READY, [C.WORKERS_BUSY, C.OWN_LINE, C.TENANTS_AHEAD, C.TIERS_AHEAD], 1, NOW,
        "b-1 is 2nd in b's line and 1 worker of embedding has no free slot: it starts as soon as one is free, "
        "after about 10 other starts, 1 of them its tenant's own.",
    ),
    "limit used up": Case(
        used_up, "acme-4", State.HELD, [C.LIMIT, C.OWN_LINE], 1, NOW + MINUTE + 1,
        "acme is held: its limit 3/minute is used up. acme-4 is 2nd in acme's line; it starts at the earliest "
        "at 2025-06-15 15:07:41Z, in 60 s.",
    ),
    "the next limit": Case(
        used_up, "acme-5", State.HELD, [C.LIMIT, C.OWN_LINE], 2, MIDNIGHT,
        "acme is held: its limit 3/minute is used up. acme-5 is 3rd in acme's line; limit 5/day lets it start "
        "at the earliest at 2025-06-16 00:00:00Z, in 9 h.",
    ),
    "limit before its turn": Case(
        before_its_turn, "acme-4", State.READY, [C.LIMIT, C.WORKERS_BUSY, C.OWN_LINE], 4, NOW + MINUTE + 1,
        "acme-4 is 5th in acme's line, but limit 3/minute of acme has room for 3 starts now; limit 3/minute "
        "lets it start at the earliest at 2025-06-15 15:07:41Z, in 60 s.",
    ),
    "limit not reached": Case(
        before_its_turn, "acme-2", State.READY, [C.WORKERS_BUSY, C.OWN_LINE], 2, NOW,
        "acme-2 is 3rd in acme's line and 1 worker of embedding has no free slot: it starts as soon as one is "
        "free, after about 2 other starts, 2 of them its tenant's own.",
    ),
    "domain limit": Case(
        domain_limit, "acme-1", State.READY, [C.DOMAIN_LIMIT, C.WORKERS_BUSY], 0, NOW + MINUTE + 1,
        "acme-1 is next in acme's line, but limit 1/minute of the whole domain is used up; it starts at the "
        "earliest at 2025-06-15 15:07:41Z, in 60 s.",
    ),
    "tier limit": Case(
        tier_limit, "acme-2", State.READY, [C.TIER_LIMIT, C.WORKERS_BUSY], 0, NOW + MINUTE + 1,
        "acme-2 is next in acme's line, but limit 2/minute of the whole tier is used up; it starts at the earliest at 2025-06-15 15:07:41Z, in 60 s.",
    ),
    "named limit": Case(
        named_limit, "bob-0", State.READY, [C.NAMED_LIMIT, C.WORKERS_BUSY, C.TIERS_AHEAD], 0, NOW + MINUTE + 1,
        "bob-0 is next in bob's line, but limit openai 1/minute of its action type is used up; it starts at the earliest at 2025-06-15 15:07:41Z, in 60 s.",
    ),
    "held by a named limit": Case(
        named_limit_held, "acme-2", State.HELD, [C.NAMED_LIMIT, C.NAMED_LIMIT, C.OWN_LINE], 1, NOW + MINUTE + 1,
        "acme-2 is 2nd in acme's line, but the next in its tenant's line waits for limit openai, which its action type shares; it starts at the earliest at 2025-06-15 15:07:41Z, in 60 s; also, limit openai 1/minute of its action type is used up.",
    ),
    "concurrency": Case(
        all_slots, "acme-1", State.HELD, [C.CONCURRENCY], 0, None,
        "acme is held: tier solo lets it run 1 at once, and it does. acme-1 is next in acme's line and starts "
        "when its turn comes after one of them ends.",
    ),
    "scheduled": Case(
        later, "acme-0", State.SCHEDULED, [C.SCHEDULED], None, NOW + MINUTE,
        "acme-0 is scheduled for 2025-06-15 15:07:40Z, in 60 s.",
    ),
    "scheduled, then a limit": Case(
        later_and_limited, "acme-late", State.SCHEDULED, [C.SCHEDULED, C.LIMIT], None, MIDNIGHT + MINUTE + 1,
        "acme-late is scheduled for 2025-06-15 15:06:45Z, in 5.0 s; limit 3/minute lets it start at the earliest "
        "at 2025-06-16 00:01:01Z, in 9 h.",
    ),
    "retry": Case(
        failed, "acme-0", State.SCHEDULED, [C.RETRY], None, NOW + 10_000,
        "acme-0 failed 0 ms ago (attempt 1: ValueError: no [31m such thing in line 2) and is due again at 2025-06-15 15:06:50Z, in 8.0 s.",
    ),
    "snoozed": Case(
        put_off, "acme-0", State.SCHEDULED, [C.RETRY], None, NOW + 10_000,
        "acme-0 was put off by its handler and is due again at 2025-06-15 15:06:50Z, in 8.0 s.",
    ),
    "deadline": Case(
        too_late, "acme-late", State.HELD, [C.LIMIT, C.OWN_LINE, C.EXPIRES], 1, NOW + MINUTE + 1,
        "acme is held: its limit 3/minute is used up. acme-late is 2nd in acme's line; it starts at the "
        "earliest at 2025-06-15 15:07:41Z, in 60 s; also, its deadline 2025-06-15 15:06:41Z passes before it "
        "may start: it will expire.",
    ),
    "tenant paused": Case(
        tenant_paused, "acme-1", State.HELD, [C.PAUSED, C.NO_WORKER, C.OWN_LINE], 1, None,
        "acme-1 is 2nd in acme's line, but tenant acme was paused by ana at 2025-06-15 15:06:40Z: unpaid; nothing of it starts until it is resumed; also, no worker serves embedding.",
    ),
    "tier paused": Case(
        tier_paused, "acme-0", State.HELD, [C.PAUSED], 0, None,
        "acme-0 is next in acme's line, but tier free was paused by ana at 2025-06-15 15:06:40Z; nothing of it starts until it is resumed.",
    ),
    "domain paused": Case(
        domain_paused, "acme-0", State.HELD, [C.PAUSED], 0, None,
        "acme-0 is next in acme's line, but the whole domain was paused by ana at 2025-06-15 15:06:40Z: index rebuild; nothing of it starts until it is resumed.",
    ),
    "type paused, set aside": Case(
        type_paused, "acme-0", State.HELD, [C.PAUSED], None, None,
        "acme-0 waits for acme's turn in tier enterprise, but action type embedding.generate was paused by ana at 2025-06-15 15:06:40Z: model is down; nothing of it starts until it is resumed.",
    ),
    "backpressure": Case(
        pressed, "acme-0", State.READY, [C.BACKPRESSURE, C.WORKERS_BUSY], 0, NOW + 20_000,
        "acme-0 is next in acme's line, but a handler said not now (backpressure) to tenant acme until 2025-06-15 15:07:00Z, in 20 s.",
    ),
    "limits of its own": Case(
        own_limits, "acme-2", State.READY, [C.LIMIT, C.WORKERS_BUSY, C.OWN_LINE], 2, 1_751_328_000_000,
        "acme-2 is 3rd in acme's line, but limit 1/minute of acme has room for 1 start now; limit 2/month lets it start at the earliest at 2025-07-01 00:00:00Z, in 15 days.",
    ),
    "no such tier": Case(
        no_tier, "acme-0", State.READY, [C.NO_TIER, C.NO_WORKER], 0, None,
        "acme-0 will not start: the published policy has no tier 'enterprise' (it has gold): nobody serves its "
        "stream.",
    ),
    "entry gone": Case(
        entry_gone, "acme-0", State.READY, [C.ENTRY_GONE, C.NO_WORKER], 0, None,
        "acme-0 will not start: its entry was deleted from its stream by somebody else: it cannot run any more.",
    ),
    "lease over": Case(
        lease_over, "acme-0", State.RUNNING, [C.LEASE_ENDED], None, None,
        "acme-0 was started on worker w1, whose lease ended 3.0 s ago: it is probably dead. The action is taken "
        "back and starts again (attempt 2) once a worker is started: none is alive.",
    ),
}  # fmt: skip
