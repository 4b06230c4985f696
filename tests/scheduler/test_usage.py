"""What is used and left of limits: the same as the oracle says, on every strategy, and nothing is written."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis import Redis as SyncRedis
from redis.asyncio import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from scheduler import UnknownTierError
from scheduler.calendar import period_at
from scheduler.limit_rules import LimitRule
from scheduler.limits import Limit, Strategy, allowance, spend, standing
from scheduler.scripts import Script, compose
from scheduler.usage import LimitStatus, tenant_limits
from tests.scheduler.world import DAY, MINUTE, NOW, World, new, some

EVERY_STRATEGY = """
default_tier = "free"
[domains]
embedding = ["50/minute"]
[limits.upstream]
rate = "30/minute"
action_types = ["embedding.generate"]
[tiers.free]
priority = 1
max_concurrency = 4
tier_limits = ["40/minute"]
limits = [
  "7/minute",
  { rate = "20/hour", strategy = "fixed-window" },
  { rate = "9/2 minutes", strategy = "sliding-window-counter" },
  "12/day",
]
"""

HARNESS = """
-- @argv limit:str states:str now_ms:int starts:int start_ms:int end_ms:int
-- @include reset
local decoded = cjson.decode(limit)
local periods = {[decoded[5]] = {start_ms, end_ms}}
local kept = states ~= '' and cmsgpack.unpack(states) or {}
local left, more_at, full_at = standing(decoded, kept[decoded[6]], now_ms, periods[decoded[5]])
if starts > 0 then spend({decoded}, kept, now_ms, periods, starts) end
return {left, more_at, full_at, cmsgpack.pack(kept)}
"""


@pytest.fixture
def client(redis_url: str) -> Iterator[Any]:
    client = SyncRedis.from_url(redis_url, protocol=2, socket_timeout=10, retry=Retry(NoBackoff(), 0))
    yield client
    client.close()


@pytest.mark.parametrize("strategy", list(Strategy))
def test_the_figures_are_the_oracles(strategy: Strategy, client: Any) -> None:
    script: Script = compose("harness", HARNESS)
    rates = ["3/day", "5/month"] if strategy is Strategy.CALENDAR else ["1/second", "7/minute", "5/2 minutes"]
    gaps = st.sampled_from([0, 1, 333, 999, 1000, 1001, 7_000, 59_999, 60_000, 60_001, 130_000, DAY])

    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    @given(
        rate=st.sampled_from(rates),
        offset=st.integers(0, 2 * MINUTE),
        steps=st.lists(st.tuples(gaps, st.integers(0, 3)), min_size=1, max_size=20),
    )
    def same(rate: str, offset: int, steps: list[tuple[int, int]]) -> None:
        limit = LimitRule(rate=rate, strategy=strategy).compile("Europe/Madrid")
        now, state, packed = NOW + offset, None, b""
        for gap, wanted in steps:
            now += gap
            period = period_at(limit.period, now) if limit.period else None
            start_ms, end_ms = period or (0, 0)
            starts = min(wanted, allowance(limit, state, now, period).starts)
            args = [json.dumps(limit.wire()), packed, now, starts, start_ms, end_ms]
            left, more_at, full_at, packed = client.execute_command(*script.command_with_text("x:y", args))
            assert (left, more_at, full_at) == standing(limit, state, now, period)
            check_times(limit, state, now, period)
            if starts:
                state = spend(limit, state, now, starts, period)

    same()


def check_times(limit: Limit, state: Any, now: int, period: Any) -> None:
    """Just before `more_at` there is no more than now, at it there is; at `full_at` there is all."""
    left, more_at, full_at = standing(limit, state, now, period)
    if not more_at:
        assert left == limit.amount
        return
    assert now < more_at <= full_at

    def left_at(at: int) -> int:
        return allowance(limit, state, at, period_at(limit.period, at) if limit.period else None).starts

    assert left_at(more_at - 1) == left < left_at(more_at)
    assert left_at(full_at) == limit.amount


async def test_a_tenant_has_used_what_has_started(redis: Redis) -> None:
    world = World(redis, EVERY_STRATEGY)
    await world.worker("w1")
    await world.enqueue(*some(9, "acme", "free"), *some(2, "other", "free"))
    await world.finish(*(await world.claim()).actions[:3])
    before = await world.snapshot()
    status = await tenant_limits(world.engine, world.domain, "acme", "free")
    assert await world.snapshot() == before
    used = {limit.name: (limit.scope, limit.used, limit.remaining) for limit in status.limits}
    started = 9 - status.waiting
    assert started
    assert used == {
        "7/minute": ("tenant", started, 7 - started),
        "20/hour": ("tenant", started, 20 - started),
        "9/2 minute": ("tenant", started, 9 - started),
        "12/day": ("tenant", started, 12 - started),
        "40/minute": ("tier", started + 2, 38 - started),
        "50/minute": ("domain", started + 2, 48 - started),
        "upstream 30/minute": ("named", started + 2, 28 - started),
    }
    assert status.max_concurrency == 4
    assert (status.at_ms, status.domain, status.tenant_id, status.tier) == (NOW, "embedding", "acme", "free")


async def test_a_held_tenant_says_until_when_and_why(world: World) -> None:
    await world.enqueue(*some(5, "acme", "free"), *some(2, "solo", "solo"))
    await world.claim()
    held = await tenant_limits(world.engine, world.domain, "acme", "free")
    assert (held.held, held.held_until_ms, held.held_why) == (True, NOW + MINUTE + 1, "3/minute")
    assert (held.running, held.waiting) == (3, 2)
    assert held.limits[0] == LimitStatus(
        "tenant", "3/minute", "moving-window", 3, MINUTE, "", 0, NOW + MINUTE + 1, NOW + MINUTE + 1
    )
    by_slots = await tenant_limits(world.engine, world.domain, "solo", "solo")
    assert (by_slots.held, by_slots.held_until_ms, by_slots.held_why) == (True, None, "concurrency 1")
    assert (by_slots.max_concurrency, by_slots.running) == (1, 1)


async def test_a_tenant_never_seen_has_used_nothing(world: World) -> None:
    status = await tenant_limits(world.engine, world.domain, "nobody", "free")
    assert [(limit.used, limit.more_at_ms, limit.full_at_ms) for limit in status.limits] == [(0, 0, 0)] * 2
    assert not status.held


async def test_before_any_worker_it_is_ones_own_policy(redis: Redis) -> None:
    world = World(redis, EVERY_STRATEGY)
    unserved = await tenant_limits(world.engine, world.domain, "acme", "free")
    await world.engine.publish_policy(world.domain)
    assert await tenant_limits(world.engine, world.domain, "acme", "free") == unserved
    assert [limit.remaining for limit in unserved.limits] == [7, 20, 9, 12, 40, 50, 30]


@pytest.mark.parametrize("published", [True, False])
async def test_an_unknown_tier(redis: Redis, published: bool) -> None:
    world = World(redis)
    if published:
        await world.engine.publish_policy(world.domain)
    with pytest.raises(UnknownTierError, match="did you mean 'free'"):
        await tenant_limits(world.engine, world.domain, "acme", "fre")


async def test_periods_that_only_the_published_policy_has(redis: Redis) -> None:
    """A looker with an older policy is told which calendar periods to say."""
    world = World(redis, EVERY_STRATEGY)
    await world.engine.publish_policy(world.domain)
    older = World(redis, 'default_tier = "free"\n[tiers.free]\npriority = 1\n')
    status = await tenant_limits(older.engine, world.domain, "acme", "free")
    names = [limit.name for limit in status.limits]
    assert names[:4] == ["7/minute", "20/hour", "9/2 minute", "12/day"]
    assert names[4:] == ["40/minute", "50/minute", "upstream 30/minute"]


async def test_the_backlog_is_what_enqueue_counts(redis: Redis) -> None:
    world = World(redis, EVERY_STRATEGY + "max_backlog = 6\n")
    await world.worker("w1")
    await world.engine.publish_policy(world.domain)
    await world.enqueue(*some(4, "acme", "free"), new("later", "acme", "free", due_ms=NOW + MINUTE))
    assert len((await world.claim(slots=2)).actions) == 2
    status = await tenant_limits(world.engine, world.domain, "acme", "free")
    assert (status.backlog, status.max_backlog) == (3, 6)
    said = await world.enqueue(*[new(f"more-{n}", "acme", "free") for n in range(5)])
    assert sum(each.accepted for each in said) == 3
    assert (await tenant_limits(world.engine, world.domain, "acme", "free")).backlog == 6
