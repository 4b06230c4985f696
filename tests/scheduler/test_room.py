"""Backlog limits, tiers that refuse, deadlines that cannot be kept: told at enqueue, nothing written."""

from __future__ import annotations

from typing import Any

import pytest
from redis.asyncio import Redis

from scheduler import Outcome, Policy, PolicyError, Refusal, RefusalReason, overrides
from tests.scheduler.world import DAY, MINUTE, NOW, World, new, some

POLICY = """
default_tier = "t"
[tiers.t]
priority = 1
{0}
"""


async def world_of(redis: Redis, rules: str) -> World:
    world = World(redis, POLICY.format(rules))
    await world.worker("w1")
    await world.engine.publish_policy(world.domain)
    return world


async def refusals(world: World, *names: str, **more: Any) -> list[Refusal | None]:
    return [said.refusal for said in await world.enqueue(*[new(name, tier="t", **more) for name in names])]


def full(amount: int, most: int, what: str = "actions") -> Refusal:
    return Refusal(RefusalReason.BACKLOG, "acme", "t", limit=what, amount=amount, most=most)


async def test_a_full_backlog_writes_nothing(redis: Redis) -> None:
    world = await world_of(redis, "max_backlog = 3")
    await world.enqueue(*some(2, tier="t"), new("later", tier="t", due_ms=NOW + MINUTE))
    await world.claim(slots=0)
    before = await world.snapshot()
    assert await refusals(world, "x1", "x2") == [full(3, 3), full(3, 3)]
    assert await refusals(world, "x3", due_ms=NOW + 5) == [full(3, 3)]
    assert await world.snapshot() == before
    assert (await world.enqueue(new("b", "other", "t")))[0].accepted


async def test_one_call_fills_it(redis: Redis) -> None:
    world = await world_of(redis, "max_backlog = { actions = 2 }")
    assert await refusals(world, "x1", "x2", "x3") == [None, None, full(2, 2)]


@pytest.mark.parametrize("end", ["claim", "cancel", "retry", "release", "reclaim", "promote", "deleted"])
async def test_what_waits_counts_and_what_runs_does_not(redis: Redis, end: str) -> None:
    world = await world_of(redis, "max_backlog = 2")
    later = NOW + MINUTE if end in ("cancel", "promote") else 0
    await world.enqueue(new("x1", tier="t", due_ms=later), new("x2", tier="t"))
    room = 1
    match end:
        case "claim":
            await world.claim(slots=1)
        case "cancel":
            await world.cancel("x1")
        case "retry":
            [action] = (await world.claim(slots=1)).actions
            await world.finish(action, outcome=Outcome.RETRY, due_ms=NOW + MINUTE)
            room = 0
        case "release":
            claimed = (await world.claim(slots=1)).actions
            await world.engine.release(world.domain, "w1", claimed)
            room = 0
        case "reclaim":
            await world.claim(slots=1)
            world.clock.advance(world.engine.lease_ms + 1)
            await world.engine.reclaim(world.domain)
            room = 0
        case "promote":
            world.clock.advance(MINUTE)
            await world.engine.promote(world.domain)
            room = 0
        case "deleted":
            [(entry, _)] = await world.redis.xrange(world.stream(tier="t"), count=1)
            await world.redis.xdel(world.stream(tier="t"), entry)
    said = await refusals(world, *[f"y{n}" for n in range(room + 1)])
    assert said == [None] * room + [full(2, 2)]


async def test_bytes_are_the_memory_of_the_line(redis: Redis) -> None:
    world = await world_of(redis, 'max_backlog = { bytes = "200KB" }')
    big = [new(f"x{n}", tier="t")._replace(payload=b"p" * 50_000) for n in range(6)]
    said = await world.enqueue(*big)
    assert [each.accepted for each in said] == [True] * 3 + [False] * 3 or sum(x.accepted for x in said) == 4
    refusal = said[-1].refusal
    assert refusal
    assert (refusal.limit, refusal.most) == ("bytes", 200_000)
    assert refusal.amount > 140_000
    assert (await refusals(world, "small"))[0] is None or refusal.amount > 199_000


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        ("max_backlog = -1", "must be at least 0"),
        ('max_backlog = { bytes = "many" }', "'many' is no size"),
        ("max_backlog = { actoins = 1 }", "did you mean 'actions'"),
        ('over_limit = "drop"', "one of hold, refuse"),
    ],
)
def test_rules_that_cannot_be(rule: str, told: str) -> None:
    with pytest.raises(PolicyError, match=told):
        Policy.parse(POLICY.format(rule))


async def test_memory_comes_back(redis: Redis) -> None:
    world = await world_of(redis, 'max_backlog = { actions = 10, bytes = "1MB" }\nover_limit = "refuse"')
    await world.enqueue(*some(5, tier="t"), *[new(f"d{n}", tier="t", due_ms=NOW + n) for n in range(4)])
    await world.cancel("d3")
    world.clock.advance(10)
    await world.finish(*(await world.claim()).actions)
    assert not await world.unfinished()


@pytest.mark.parametrize(
    ("limit", "retry_after_ms", "name"),
    [
        ("3/minute", MINUTE, "3/minute"),
        ('{ rate = "3/minute", strategy = "fixed-window" }', MINUTE, "3/minute"),
        ("3/day", DAY - NOW % DAY, "3/day"),
    ],
)
async def test_a_tier_that_refuses(redis: Redis, limit: str, retry_after_ms: int, name: str) -> None:
    world = await world_of(
        redis, f'over_limit = "refuse"\nlimits = [{limit if "{" in limit else repr(limit)}]'
    )
    expected = Refusal(RefusalReason.LIMIT, "acme", "t", limit=name, retry_after_ms=retry_after_ms)
    assert await refusals(world, "x1", "x2", "x3", "x4") == [None, None, None, expected]
    await world.claim()
    world.clock.advance(1_000)
    before = await world.snapshot()
    [said] = await refusals(world, "x5")
    assert said
    assert said.limit == name
    assert 0 < retry_after_ms - said.retry_after_ms <= 1_000
    assert await world.snapshot() == before
    world.clock.advance(said.retry_after_ms)
    assert await refusals(world, "x6") == [None]
    assert await world.claim_ids() == ["x6"]


async def test_the_tenants_own_limits_decide(redis: Redis) -> None:
    world = await world_of(redis, 'over_limit = "refuse"\nlimits = ["1/minute"]')
    rules = {"by": "ana", "limits": ["2/day"]}
    await overrides.set_override(world.engine, [world.domain], "acme", **rules)  # type: ignore[arg-type]
    [*accepted, refused] = await refusals(world, "x1", "x2", "x3")
    assert accepted == [None, None]
    assert refused
    assert refused.limit == "2/day"


@pytest.mark.parametrize("over_limit", ["hold", "refuse"])
async def test_a_deadline_before_the_limit_frees_is_told_at_once(redis: Redis, over_limit: str) -> None:
    world = await world_of(redis, f'limits = ["1/minute"]\nover_limit = "{over_limit}"')
    if over_limit == "refuse":
        await world.enqueue(new("x0", tier="t"))
        await world.redis.hset(world.key("registry"), "*", '{"order":["t"],"default":"t"}')
        await world.enqueue(new("x1", tier="t"))
        await world.engine.publish_policy(world.domain)
    else:
        await world.enqueue(new("x0", tier="t"), new("x1", tier="t"))
    await world.claim()
    frees = MINUTE + 1
    before = await world.snapshot()
    expected = Refusal(RefusalReason.DEADLINE, "acme", "t", limit="1/minute", retry_after_ms=frees)
    assert await refusals(world, "x2", deadline_ms=NOW + frees) == [expected]
    assert await world.snapshot() == before
    if over_limit == "hold":
        assert await refusals(world, "x3", deadline_ms=NOW + frees + 1) == [None]
        assert await refusals(world, "x4") == [None]


async def test_a_hold_without_a_known_end_refuses_nothing(redis: Redis) -> None:
    world = await world_of(redis, "max_concurrency = 1")
    await world.enqueue(*some(2, tier="t"))
    await world.claim()
    assert (await world.snapshot())["held"] == {"acme:t": float("inf")}
    assert await refusals(world, "x2", deadline_ms=NOW + 1) == [None]


async def test_what_is_due_after_the_limit_gives_more_is_not_refused(redis: Redis) -> None:
    world = await world_of(redis, 'over_limit = "refuse"\nlimits = ["1/minute"]')
    assert await refusals(world, "x1") == [None]
    await world.claim()
    [refused] = await refusals(world, "x2", due_ms=NOW + MINUTE)
    assert refused is not None
    assert (refused.reason, refused.retry_after_ms) == (RefusalReason.LIMIT, MINUTE + 1)
    assert await refusals(world, "x3", due_ms=NOW + refused.retry_after_ms) == [None]


async def test_a_long_list_stays_in_order_where_a_newer_policy_asks_for_its_periods(redis: Redis) -> None:
    """Each of its parts is written or asks; one that asks must not be overtaken by the next."""
    newer = await world_of(redis, '[tiers.quota]\npriority = 2\nover_limit = "refuse"\nlimits = ["9/day"]')
    older = World(redis, POLICY.format(""))
    actions = some(150, tier="t")
    actions.insert(50, new("x", tier="quota"))
    assert all(said.accepted for said in await older.enqueue(*actions))
    waiting = (await newer.snapshot())["stream acme:t"]["entries"]
    assert waiting == [f"acme-{n}" for n in range(150)]


@pytest.mark.parametrize("limits", ['["3/minute", "3/day"]', '["3/day", "3/minute"]'])
async def test_of_several_limits_that_are_used_up_the_last_to_open_is_told(redis: Redis, limits: str) -> None:
    """Also when a call itself uses them up: until the last of them opens nothing can start."""
    world = await world_of(redis, f'over_limit = "refuse"\nlimits = {limits}')
    told = await refusals(world, "x1", "x2", "x3", "x4")
    assert told[:3] == [None, None, None]
    assert told[3] is not None
    assert told[3].limit == "3/day"
    assert (await refusals(world, "x5")) == [told[3]]
