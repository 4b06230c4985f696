"""One tenant splits its work over ten action types: a type is not a tenant, so it gains at most 5 %."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from tests.laws.conftest import Ship
from tests.laws.loads import backlog
from tests.laws.timeline import Job, Played, play

TYPES = [f"load.kind{n}" for n in range(10)]
SLOTS, RUN_MS, WINDOW_MS = 10, 100, 12_000


def load(types: list[str], seed: int) -> list[Job]:
    draw = random.Random(seed)
    splitter = backlog(draw, "splitter", 1_500, RUN_MS)
    jobs = [job._replace(action_type=types[n % len(types)]) for n, job in enumerate(splitter)]
    return jobs + backlog(draw, "plain", 1_500, RUN_MS)


def got(played: Played, fair_by: str) -> Counter[str]:
    if fair_by == "run_time":
        return played.used_ms(until_ms=WINDOW_MS)
    return Counter(start.job.tenant for start in played.starts)


@pytest.mark.parametrize("fair_by", ["count", "run_time"])
async def test_ten_action_types_gain_at_most_five_percent(ship: Ship, fair_by: str) -> None:
    policy = f'default_tier = "t"\n[tiers.t]\npriority = 1\nfair_by = "{fair_by}"\n'
    one = got(await play(await ship(policy), load(TYPES[:1], 1), SLOTS, until_ms=WINDOW_MS), fair_by)
    ten = got(await play(await ship(policy), load(TYPES, 1), SLOTS, until_ms=WINDOW_MS), fair_by)
    assert min(*one.values(), *ten.values()) >= 500
    assert ten["splitter"] <= 1.05 * one["splitter"]
    assert ten["splitter"] <= 1.05 * ten["plain"]
