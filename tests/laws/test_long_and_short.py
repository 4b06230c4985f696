"""Long actions beside short ones: 10 s against 0.1 s, equal weights, both always with work.

By run time their worker-seconds differ by at most 5 % (law 2); by count the same load is unfair a
hundredfold, which is what the feature is for.
"""

from __future__ import annotations

import pytest

from tests.laws.conftest import Ship
from tests.laws.timeline import Job, play
from tests.scheduler.test_oracle import NIGHTLY

SLOTS = 10
LONG_MS, SHORT_MS = 10_000, 100
POLICY = 'default_tier = "t"\n[tiers.t]\npriority = 1\nfair_by = "{0}"\n'


def load(seconds: int) -> list[Job]:
    """More of both than the slots can run in that time."""
    long = [Job(0, "long", LONG_MS) for _ in range(SLOTS * seconds // 10 + SLOTS)]
    return long + [Job(0, "short", SHORT_MS) for _ in range(SLOTS * seconds * 10)]


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_by_run_time_worker_seconds_differ_by_at_most_five_percent(ship: Ship) -> None:
    """Nightly over a window in which both started 500; else over one of 200, which is harder."""
    seconds = 1_060 if NIGHTLY else 460
    played = await play(await ship(POLICY.format("run_time")), load(seconds), SLOTS, until_ms=seconds * 1_000)
    used = played.used_ms(60_000, seconds * 1_000)
    assert len(played.of("long")) >= (500 if NIGHTLY else 200)
    assert abs(used["long"] - used["short"]) <= 0.05 * min(used.values()), used


async def test_never_apart_by_more_than_the_slots_worth_of_the_longest(ship: Ship) -> None:
    """At any moment, from the first one on: also while nothing has been measured yet."""
    seconds = 120
    played = await play(await ship(POLICY.format("run_time")), load(seconds), SLOTS, until_ms=seconds * 1_000)
    for until_ms in range(1_000, seconds * 1_000, 1_000):
        used = played.used_ms(0, until_ms)
        assert abs(used["long"] - used["short"]) <= SLOTS * LONG_MS, until_ms


async def test_by_count_the_same_load_is_unfair_by_the_ratio_of_run_times(ship: Ship) -> None:
    seconds = 120
    played = await play(await ship(POLICY.format("count")), load(seconds), SLOTS, until_ms=seconds * 1_000)
    used = played.used_ms(0, seconds * 1_000)
    assert used["long"] > 20 * used["short"]
