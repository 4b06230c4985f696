"""Limit law: no window ever holds more starts than allowed, whatever races.

64 workers in four processes, each with a connection of its own, claim as fast as they can under limits of
every strategy, over edges of minutes and of a day. What they started is put in the order the server decided
in, and every window is looked at.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter, defaultdict
from itertools import accumulate
from operator import attrgetter
from pathlib import Path

import pytest

from tests.laws.conftest import Prepare
from tests.laws.racers import Race, Start
from tests.scheduler.world import DAY, MINUTE, some

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

ROOT = Path(__file__).parents[2]
PROCESSES = 4
TENANTS = ("a", "b", "c")
MOVING, FIXED, SLIDING, DAILY, AT_ONCE, OF_TIER, NAMED = 12, 10, 9, 25, 2, 20, 15
POLICY = f"""
default_tier = "fixed"
[domains]
embedding = ["%d/minute"]
[tiers.moving]
priority = 1
limits = ["{MOVING}/minute"]
[tiers.fixed]
priority = 2
limits = [{{rate = "{FIXED}/minute", strategy = "fixed-window"}}]
[tiers.sliding]
priority = 3
limits = [{{rate = "{SLIDING}/minute", strategy = "sliding-window-counter"}}]
[tiers.daily]
priority = 4
limits = ["{DAILY}/day"]
[tiers.narrow]
priority = 5
max_concurrency = {AT_ONCE}
[tiers.together]
priority = 6
tier_limits = ["{OF_TIER}/minute"]
[tiers.upstream]
priority = 7
[limits.upstream]
rate = "{NAMED}/minute"
action_types = ["embedding.upstream"]
"""


def run_race(race: Race) -> list[Start]:
    """All processes at once; their starts in the order in which the server gave them out."""
    command = [sys.executable, "-m", "tests.laws.racers", json.dumps(race)]
    processes = [
        subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(PROCESSES)
    ]
    try:
        for process in processes:
            assert process.stdout
            assert process.stdout.readline() == "ready\n"
        began = f"{time.monotonic()}\n"
        for process in processes:
            assert process.stdin
            process.stdin.write(began)
            process.stdin.flush()
        starts = [Start(*one) for process in processes for one in json.loads(process.communicate()[0])]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    return sorted(starts, key=attrgetter("token"))


def told_times(starts: list[Start]) -> list[int]:
    """The times the server was told, each no earlier than one it had heard before."""
    return list(accumulate((start.now_ms for start in starts), max))


def check_moving(starts: list[Start], amount: int, window_ms: int = MINUTE) -> None:
    """Any window that begins with a start holds at most ``amount``."""
    times = told_times(starts)
    for first, last in zip(times, times[amount:], strict=False):
        assert last - first > window_ms


def check_fixed(starts: list[Start], amount: int) -> None:
    """A window begins with the first start after the end of the one before."""
    end_ms = count = 0
    for at_ms in told_times(starts):
        if at_ms >= end_ms:
            end_ms, count = at_ms + MINUTE, 0
        count += 1
        assert count <= amount


def check_aligned(starts: list[Start], amount: int, window_ms: int) -> None:
    """Windows on the clock's full minutes or days."""
    assert max(Counter(at_ms // window_ms for at_ms in told_times(starts)).values(), default=0) <= amount


def check_at_once(starts: list[Start], amount: int) -> None:
    """Never more were surely owned at the same time."""
    changes = sorted([(s.until_s, -1) for s in starts] + [(s.from_s, 1) for s in starts])
    assert max(accumulate(change for _, change in changes), default=0) <= amount


def check(starts: list[Start], of_domain: int) -> None:
    """All limits of the policy; each has been reached, so that there was something to exceed."""
    of_scope: dict[tuple[str, str], list[Start]] = defaultdict(list)
    for start in starts:
        of_scope[start.tier, start.tenant].append(start)
    for tenant in TENANTS:
        check_moving(of_scope["moving", tenant], MOVING)
        check_fixed(of_scope["fixed", tenant], FIXED)
        check_aligned(of_scope["sliding", tenant], SLIDING, MINUTE)
        check_aligned(of_scope["daily", tenant], DAILY, DAY)
        check_at_once(of_scope["narrow", tenant], AT_ONCE)
    for tier, amount in (("together", OF_TIER), ("upstream", NAMED)):
        check_moving([start for start in starts if start.tier == tier], amount)
    check_moving(starts, of_domain)


async def raced(
    prepare: Prepare, url: str, of_domain: int, sound: str = "", unsound: str = ""
) -> list[Start]:
    """A domain full of work, and the race."""
    policy = POLICY % of_domain
    world = await prepare(policy)
    for tier in world.policy.names():
        for tenant in TENANTS:
            kind = "embedding.upstream" if tier == "upstream" else "embedding.generate"
            await world.enqueue(
                *(
                    one._replace(action_id=f"{tier}-{one.action_id}", action_type=kind)
                    for one in some(900, tenant, tier)
                )
            )
    return run_race(Race(url, policy, 16, 3.0, sound, unsound))


@pytest.mark.parametrize("of_domain", [10_000, 90])
async def test_64_racing_workers_exceed_no_limit(prepare: Prepare, redis_url: str, of_domain: int) -> None:
    starts = await raced(prepare, redis_url, of_domain)
    check(starts, of_domain)
    counts = Counter((start.tier, start.tenant) for start in starts)
    if of_domain == 90:
        assert len(starts) >= 2 * of_domain
    else:
        assert min(counts["moving", tenant] for tenant in TENANTS) >= 2 * MOVING
        assert min(counts["fixed", tenant] for tenant in TENANTS) >= 2 * FIXED
        assert min(counts["sliding", tenant] for tenant in TENANTS) >= 2 * SLIDING
        assert min(counts["daily", tenant] for tenant in TENANTS) == 2 * DAILY
        assert min(counts["narrow", tenant] for tenant in TENANTS) > AT_ONCE
        of_tier = Counter(start.tier for start in starts)
        assert of_tier["together"] >= 2 * OF_TIER
        assert of_tier["upstream"] >= 2 * NAMED


@pytest.mark.parametrize(
    ("sound", "unsound"),
    [
        ("return left, binding <= count", "return left + 1, binding <= count"),
        ("return limit[3] - state[2], state[1]", "return limit[3] + 1 - state[2], state[1]"),
        ("return limit[3] - count, period[2]", "return limit[3] + 1 - count, period[2]"),
        ("return tonumber(consumer[2])", "return tonumber(consumer[2]) - 1"),
    ],
)
async def test_a_script_that_allows_one_more_is_found_out(
    prepare: Prepare, redis_url: str, sound: str, unsound: str
) -> None:
    starts = await raced(prepare, redis_url, 10_000, sound, unsound)
    with pytest.raises(AssertionError):
        check(starts, 10_000)
