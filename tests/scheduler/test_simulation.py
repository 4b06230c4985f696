"""The simulation on the shipping scripts: figures by hand, the same schedule twice, the laws it must show."""

from __future__ import annotations

import json
import random
from collections import Counter
from itertools import pairwise
from typing import Any

import pytest
from redis.asyncio import Redis

from scheduler import Policy
from scheduler.simulation import (
    Arrival,
    Fleet,
    Load,
    Report,
    Scenario,
    Simulated,
    SimulationError,
    parse_target,
    report_on,
    simulate,
    smallest_fleet,
)
from scheduler.simulation.intervals import Intervals
from scheduler.simulation.report import jain

START = 1_893_456_000_000  # 2030-01-01 00:00 UTC
GOLD_AND_FREE = """
default_tier = "free"
[tiers.gold]
priority = 1
[tiers.free]
priority = 2
limits = ["2/minute"]
timeout = 5
"""
ONE_TIER = 'default_tier = "t"\n[tiers.t]\npriority = 1\n'
SCENARIO = """
domain = "load"
duration = "10min"
[[groups]]
name = "busy"
tier = "free"
tenants = 5
skew = 1.0
arrivals = { kind = "bursty", per_minute = 20, burst = 4 }
actions = [{ type = "load.job", run_time = { kind = "pareto", mean = "2s" } }]
[[groups]]
name = "few"
tier = "gold"
arrivals = { kind = "poisson", per_minute = 10 }
actions = [{ type = "load.job", run_time = { kind = "lognormal", mean = "3s" } }]
"""


def load(*arrivals: tuple[int, str, str, int]) -> Load:
    """(at, tenant, tier, run) each."""
    return Load("by hand", "load", START, [Arrival(*each, "load.job") for each in arrivals])


async def play(redis: Redis, policy: str, what: Load, workers: int = 1, slots: int = 1) -> Simulated:
    await redis.flushdb()
    return await simulate(redis, what, Policy.parse(policy), Fleet(workers, slots))


def idle_while_waiting_ms(played: Simulated) -> int:
    """Slot time that stood idle while somebody waited, over the whole fleet."""
    changes: Counter[int] = Counter()
    waiting: Counter[int] = Counter()
    for ran in played.ran:
        changes[ran.start_ms] += 1
        changes[ran.end_ms] -= 1
        waiting[ran.arrival.at_ms] += 1
        waiting[ran.start_ms] -= 1
    busy = in_line = idle_ms = 0
    moments = sorted({*changes, *waiting})
    for at_ms, next_ms in pairwise(moments):
        busy += changes[at_ms]
        in_line += waiting[at_ms]
        idle_ms += min(played.fleet.all_slots - busy, in_line) * (next_ms - at_ms)
    return idle_ms


async def test_figures_that_can_be_computed_by_hand(redis: Redis) -> None:
    """One slot. gold goes first; free may start two a minute, so its third waits for the first's minute."""
    played = await play(
        redis,
        GOLD_AND_FREE,
        load(
            (0, "a", "free", 1_000), (0, "b", "gold", 1_000), (0, "a", "free", 1_000), (0, "a", "free", 9_000)
        ),
    )
    assert [(ran.arrival.tenant, ran.start_ms, ran.end_ms, ran.cut) for ran in played.ran] == [
        ("b", 0, 1_000, False),
        ("a", 1_000, 2_000, False),
        ("a", 2_000, 3_000, False),
        ("a", 61_001, 66_001, True),  # its tier's timeout is five seconds
    ]
    report = report_on(played)
    gold, free = report.tiers
    assert (gold.tier, gold.started, gold.queue_ms.max, gold.share) == ("gold", 1, 0, 0.125)
    assert (free.queue_ms.p50, free.queue_ms.p95, free.worker_ms) == (2_000, 61_001, 7_000)
    assert free.held_ms == {"2/minute": 59_001}  # from the second start until the first is over a minute old
    assert (free.starvation_ms, free.starved_tenant) == (1_000, "a")
    assert (report.makespan_ms, report.utilisation) == (66_001, round(8_000 / 66_001, 6))
    [of_a] = [tenant for tenant in report.tenants if tenant.tenant == "a"]
    assert of_a.pace == round(7_000 / (2_000 + 3_000 + 66_001), 6)
    assert report.fairness == round((1 + of_a.pace) ** 2 / (2 * (1 + of_a.pace**2)), 6)


def test_jains_index() -> None:
    assert jain([1, 1, 1, 1]) == 1
    assert jain([1, 0, 0, 0]) == 0.25
    assert jain([]) is None


@pytest.mark.parametrize("fleet", [(1, 1), (3, 4), (8, 10)])
async def test_the_same_seed_gives_the_same_bytes(redis: Redis, fleet: tuple[int, int]) -> None:
    async def bytes_of(seed: int) -> str:
        made = Scenario.parse(SCENARIO).generate(seed)
        return json.dumps(report_on(await play(redis, GOLD_AND_FREE, made, *fleet)).to_dict())

    first = await bytes_of(1)
    assert await bytes_of(1) == first
    assert await bytes_of(2) != first


@pytest.mark.parametrize(("workers", "slots"), [(1, 1), (4, 1), (3, 5), (2, 20)])
async def test_no_slot_of_the_fleet_idles_while_somebody_waits(
    redis: Redis, workers: int, slots: int
) -> None:
    """The wake-ups of several workers reach whoever has room, also at the same moment."""
    draw = random.Random(workers * slots)
    arrivals = sorted(
        (draw.choice((0, draw.randrange(20_000))), f"tenant-{draw.randrange(9)}", "t", draw.randrange(1, 900))
        for _ in range(600)
    )
    played = await play(redis, ONE_TIER, load(*arrivals), workers, slots)
    assert len(played.ran) == 600
    assert idle_while_waiting_ms(played) == 0
    busy = Counter(ran.worker for ran in played.ran)
    assert len(busy) == workers


async def test_weights_and_shares_are_those_of_the_policy(redis: Redis) -> None:
    """Both tiers backlogged: a quarter of the starts is guaranteed. Inside one, tenants take turns."""
    policy = """
    default_tier = "low"
    [tiers.high]
    priority = 1
    [tiers.low]
    priority = 2
    guaranteed_share = 0.25
    """
    everybody = [
        (0, f"{tier}-{n}", tier, 100) for tier in ("high", "low") for n in (1, 2) for _ in range(400)
    ]
    played = await play(redis, policy, load(*everybody), 2, 2)
    first = [ran.arrival for ran in played.ran[:800]]
    tiers = Counter(arrival.tier for arrival in first)
    assert abs(tiers["low"] - 200) <= 8
    tenants = Counter(arrival.tenant for arrival in first)
    assert abs(tenants["high-1"] - tenants["high-2"]) <= 1
    assert report_on(played).fairness is not None


async def test_limits_of_a_whole_tier_and_concurrency_are_held_time(redis: Redis) -> None:
    policy = """
    default_tier = "t"
    [tiers.t]
    priority = 1
    tier_limits = ["1/minute"]
    [tiers.solo]
    priority = 2
    max_concurrency = 1
    """
    played = await play(
        redis,
        policy,
        load((0, "a", "t", 10), (0, "b", "t", 10), (0, "s", "solo", 500), (0, "s", "solo", 500)),
        1,
        8,
    )
    report = report_on(played)
    of_tier, solo = report.tier("t"), report.tier("solo")
    assert of_tier is not None
    assert solo is not None
    assert of_tier.held_ms == {"1/minute of the tier": 60_001}
    assert of_tier.starvation_ms == 0
    assert solo.held_ms == {"concurrency 1": 500}
    assert solo.starvation_ms == 0


async def test_a_freed_tenant_that_must_wait_for_a_slot_is_not_held(redis: Redis) -> None:
    """Two slots, one for its only action at a time: held until that ends, then a better tier is before it."""
    policy = """
    default_tier = "solo"
    [tiers.gold]
    priority = 1
    [tiers.solo]
    priority = 2
    max_concurrency = 1
    """
    arrivals = [
        (0, "g", "gold", 2_000),
        (0, "s", "solo", 500),
        (0, "s", "solo", 500),
        (9, "g", "gold", 1_000),
    ]
    solo = report_on(await play(redis, policy, load(*arrivals), 1, 2)).tier("solo")
    assert solo is not None
    assert solo.queue_ms.max == 1_500
    assert solo.held_ms == {"concurrency 1": 500}
    assert solo.starvation_ms == 1_000


async def test_what_is_refused_at_enqueue_is_counted_and_misses_every_target(redis: Redis) -> None:
    policy = """
    default_tier = "full"
    [tiers.full]
    priority = 1
    max_backlog = 2
    [tiers.strict]
    priority = 2
    limits = ["1/minute"]
    over_limit = "refuse"
    """
    arrivals = [(n, "f", "full", 1_000) for n in range(5)] + [(10 + n, "s", "strict", 1) for n in range(3)]
    report = report_on(await play(redis, policy, load(*arrivals), 1, 2))
    full, strict = report.tier("full"), report.tier("strict")
    assert full is not None
    assert strict is not None
    assert (full.arrived, full.started, full.refused) == (5, 4, {"backlog": 1})  # two run, two wait
    assert strict.arrived == strict.started + sum(strict.refused.values()) == 3
    assert strict.refused.keys() == {"limit"}
    assert report.refused == 1 + strict.refused["limit"]
    assert not parse_target("full.max=1h", ["full"]).met(report)


def test_held_time_is_counted_once() -> None:
    held = Intervals([(0, 10), (5, 20), (30, 40)])
    assert held.within(0, 100) == 30
    assert held.within(8, 35) == 17
    assert held.within(20, 30) == 0
    assert held.within(35, 35) == 0
    assert Intervals().within(0, 9) == 0


async def test_what_cannot_be_simulated_says_why(redis: Redis) -> None:
    with pytest.raises(SimulationError, match=r"tier 'golt', did you mean 'gold'\?; .* has "):
        await play(redis, GOLD_AND_FREE, load((0, "a", "golt", 1)))
    with pytest.raises(SimulationError, match="at least one worker"):
        await play(redis, GOLD_AND_FREE, load((0, "a", "gold", 1)), 0)
    await redis.set("somebody's", "data")
    with pytest.raises(SimulationError, match="empty one of its own"):
        await simulate(redis, load((0, "a", "gold", 1)), Policy.parse(GOLD_AND_FREE), Fleet(1, 1))
    assert await redis.get("somebody's") == b"data"


@pytest.mark.parametrize("most_ms", [200, 2_000, 20_000])
async def test_the_search_finds_what_trying_all_finds(redis: Redis, most_ms: int) -> None:
    made = Scenario.parse(SCENARIO).generate(3)
    policy = ONE_TIER.replace("t]", "free]").replace('"t"', '"free"') + "[tiers.gold]\npriority = 2\n"
    target = parse_target(f"gold.p99={most_ms}ms", ["free", "gold"])
    asked: Counter[int] = Counter()

    async def at(workers: int) -> Report:
        asked[workers] += 1
        return report_on(await play(redis, policy, made, workers, 1))

    found = await smallest_fleet(at, [target], 12)
    tried = set(asked)
    enough = [workers for workers in range(1, 13) if target.met(await at(workers))]
    assert found == min(enough, default=None)
    assert len(tried) <= 7


async def test_the_search_ends_where_a_slot_was_always_free(redis: Redis) -> None:
    policy = """
    default_tier = "t"
    [tiers.t]
    priority = 1
    limits = ["2/minute"]
    """
    made, asked = load(*[(0, tenant, "t", 500) for tenant in ("a", "b") for _ in range(6)]), []

    async def at(workers: int) -> Report:
        asked.append(report_on(await play(redis, policy, made, workers, 1)))
        return asked[-1]

    assert await smallest_fleet(at, [parse_target("t.p99=1s", ["t"])], 256) is None
    assert [each.workers for each in asked] == [1, 2, 4, 8]
    assert [each.peak_slots for each in asked] == [1, 2, 4, 4]
    assert asked[-1].had_a_free_slot


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("gold.p98=2s", "did you mean 'p9"),
        ("golt.p99=2s", "did you mean 'gold'"),
        ("gold.p99", "write TIER.p99=2s"),
        ("gold.p99=soon", "no length of time"),
    ],
)
def test_a_target_with_a_typo(text: str, says: str) -> None:
    with pytest.raises(SimulationError, match=says):
        parse_target(text, ["gold", "free"])


async def test_a_better_policy_is_seen_to_be_better(redis: Redis) -> None:
    """The same load under two policies: what the flood of one tenant does to the others."""
    flood: list[Any] = [(0, "flood", "t", 1_000)] * 300 + [
        (5_000 + n * 1_000, "small", "t", 100) for n in range(50)
    ]
    fair = report_on(await play(redis, ONE_TIER, load(*flood), 2, 1))
    by_time = ONE_TIER + 'fair_by = "run_time"\n'
    by_run_time = report_on(await play(redis, by_time, load(*flood), 2, 1))
    for report in (fair, by_run_time):
        [small] = [tenant for tenant in report.tenants if tenant.tenant == "small"]
        assert small.queue_ms.max is not None
        assert small.queue_ms.max <= 1_000  # the next slot that is free is its own
