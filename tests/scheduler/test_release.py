"""release: given back without an attempt, next in line."""

from __future__ import annotations

import pytest
from redis.asyncio import Redis

from scheduler import Outcome
from scheduler.batches import MAX_ITEMS
from scheduler.overrides import pause_tenant
from tests.scheduler.world import MINUTE, NOW, World, changes, new, some


async def test_gives_back(world: World) -> None:
    await world.enqueue(*some(3))
    claim = await world.claim(slots=2)
    before = await world.snapshot()
    assert await world.engine.release(world.domain, "w1", claim.actions) == 2
    assert changes(before, await world.snapshot()) == {
        "owned:w1": None,
        "ready:enterprise": {"acme": 0},
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


async def test_what_never_began_may_start_at_once_elsewhere(world: World) -> None:
    """No limit counts it, so the tenant is held no more."""
    await world.enqueue(*some(4, tier="free"))
    claim = await world.claim()
    assert (await world.snapshot())["held"] == {"acme:free": NOW + MINUTE + 1}
    await world.worker("w2")
    await world.engine.release(world.domain, "w1", claim.actions[1:])
    picture = await world.snapshot()
    assert "held" not in picture
    assert picture["waiting"] == {"acme:free": "3"}
    assert await world.claim_ids("w2") == ["acme-1", "acme-2"]
    assert (await world.snapshot())["held"] == {"acme:free": NOW + MINUTE + 1}


async def test_a_start_is_a_start(world: World) -> None:
    """What had begun stays counted and charged, as if it had ended."""
    await world.enqueue(*some(4, tier="free"))
    claim = await world.claim()
    before = await world.snapshot()
    begun = {action.action_id for action in claim.actions}
    assert await world.engine.release(world.domain, "w1", claim.actions, begun) == 3
    picture = await world.snapshot()
    assert picture["held"] == {"acme:free": NOW + MINUTE + 1}
    assert picture["waiting"] == {"acme:free": "4"}
    assert picture["usage"] == before["usage"]


async def test_a_handlers_not_now_outlasts_it(world: World) -> None:
    await world.enqueue(*some(4, tier="free"))
    one, two = (await world.claim(slots=2)).actions
    await world.finish(one, outcome=Outcome.RETRY, pressed="tenant", pressed_until_ms=NOW + 500, due_ms=NOW)
    await world.claim()
    before = await world.snapshot()
    assert before["held_why"] == {"acme:free": "backpressure"}
    await world.engine.release(world.domain, "w1", [two])
    after = await world.snapshot()
    assert (after["held"], after["held_why"]) == (before["held"], before["held_why"])


async def test_no_window_holds_more_than_allowed_whoever_releases(world: World) -> None:
    """Claimed and given back over and over: three a minute begin, not one more."""
    await world.enqueue(*some(40, tier="free"))
    began: list[int] = []
    for turn in range(60):
        world.clock.advance(5_000)
        await world.engine.extend(world.domain, "w1")
        claimed = (await world.claim()).actions
        begin = claimed[: turn % 3]
        began += [world.now] * len(begin)
        await world.engine.release(world.domain, "w1", claimed[turn % 3 :])
        await world.finish(*begin)
    assert len(began) == 5  # a day's
    assert all(began[n + 3] - began[n] > MINUTE for n in range(len(began) - 3))


LIMITS = """
default_tier = "free"
[tiers.free]
priority = 1
limits = [{{ rate = "{rate}", strategy = "{strategy}" }}]
tier_limits = [{{ rate = "{rate}", strategy = "{strategy}" }}]
[domains]
embedding = [{{ rate = "{rate}", strategy = "{strategy}" }}]
[limits.upstream]
rate = "{rate}"
strategy = "{strategy}"
action_types = ["embedding.generate"]
"""


@pytest.mark.parametrize(
    ("strategy", "rate"),
    [
        ("moving-window", "3/minute"),
        ("fixed-window", "3/minute"),
        ("sliding-window-counter", "3/minute"),
        ("calendar", "3/day"),
    ],
)
async def test_every_limit_it_counted_against_gets_its_start_back(
    redis: Redis, strategy: str, rate: str
) -> None:
    """Of the tenant, the tier, the domain and the shared one, whatever the strategy."""
    world = World(redis, LIMITS.format(strategy=strategy, rate=rate))
    await world.worker("w1")
    await world.enqueue(*some(3, tier="free"), *some(2, "beta", tier="free"))
    first = await world.claim(slots=2)
    usage = (await world.snapshot())["usage"]
    world.clock.advance(10)
    second = await world.claim(slots=1)
    assert len(first.actions) == 2
    assert await world.claim_ids() == []
    await world.engine.release(world.domain, "w1", second.actions)
    left = {scope: state for scope, state in (await world.snapshot())["usage"].items() if scope in usage}
    assert left == usage
    assert len(await world.claim_ids()) == 1
    assert await world.claim_ids() == []


@pytest.mark.parametrize("strategy", ["moving-window", "fixed-window", "sliding-window-counter"])
async def test_what_is_counted_in_another_window_stays(redis: Redis, strategy: str) -> None:
    world = World(redis, LIMITS.format(strategy=strategy, rate="3/minute"))
    await world.worker("w1")
    await world.enqueue(*some(6, tier="free"))
    old = await world.claim(slots=1)
    world.clock.advance(3 * MINUTE)
    await world.engine.extend(world.domain, "w1")
    assert len(await world.claim_ids()) == 3
    await world.engine.release(world.domain, "w1", old.actions)
    assert await world.claim_ids() == []


async def test_an_answer_to_what_expired_counted_nothing(world: World) -> None:
    await world.enqueue(new("late", tier="free", deadline_ms=NOW + 5), *some(3, tier="free"))
    world.clock.advance(10)
    expired, *_ = (await world.claim(slots=3)).actions
    before = await world.snapshot()
    assert expired.expired
    await world.engine.release(world.domain, "w1", [expired])
    after = await world.snapshot()
    assert (after["usage"], after["ready:free"]) == (before["usage"], before["ready:free"])


async def test_who_waits_for_a_shared_limit_gets_what_another_did_not_use(redis: Redis) -> None:
    world = World(redis, SHARED)
    await world.worker("w1")
    await world.enqueue(*some(1, "acme", tier="free"), *some(1, "beta", tier="free"))
    (action,) = (await world.claim()).actions
    assert (await world.snapshot())["held_why"] == {"beta:free": "limit upstream"}
    await pause_tenant(world.engine, [world.domain], "acme", by="ana")
    await world.engine.release(world.domain, "w1", [action])
    assert await world.claim_ids() == ["beta-0"]


SHARED = """
default_tier = "free"
[tiers.free]
priority = 1
[limits.upstream]
rate = "1/minute"
action_types = ["embedding.generate"]
"""


async def test_more_than_one_script_call_takes(world: World) -> None:
    await world.enqueue(*some(MAX_ITEMS + 5))
    actions = [a for _ in range(2) for a in (await world.claim(slots=MAX_ITEMS)).actions]
    assert await world.engine.release(world.domain, "w1", actions) == MAX_ITEMS + 5
