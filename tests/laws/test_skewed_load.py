"""Skewed load: one tenant has a backlog, others send a little now and then.

The load of Trigger.dev's study of fair dequeueing (pull request 4367): four slots, 25 ms actions, a backlog
of 240 and four tenants with 15 each. Their figures, mean wait of a light tenant: 1,098 ms oldest first, 14 ms
by virtual time (1.3 %).
"""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from tests.laws.conftest import Ship
from tests.laws.loads import backlog, trickle
from tests.laws.timeline import Fifo, Job, play

SLOTS, RUN_MS = 4, 25
LIGHT = [f"light-{n}" for n in range(1, 5)]


def skewed(seed: int) -> list[Job]:
    draw = random.Random(seed)
    jobs = backlog(draw, "heavy", 240, RUN_MS)
    for tenant in LIGHT:
        jobs += trickle(draw, tenant, 15, RUN_MS, per_s=10)
    return jobs


def trickling(seed: int) -> list[Job]:
    draw = random.Random(seed)
    jobs = backlog(draw, "heavy", 240, RUN_MS)
    for tenant in LIGHT[:2]:
        jobs += trickle(draw, tenant, 30, RUN_MS, per_s=25)
    return jobs


@pytest.mark.parametrize("load", [skewed, trickling])
async def test_a_light_tenant_waits_at_most_one_and_a_half_percent_of_what_it_would_in_a_fifo(
    ship: Ship, load: Callable[[int], list[Job]]
) -> None:
    ours = reference = 0.0
    for seed in range(3):
        jobs = load(seed)
        ours += (await play(await ship(), jobs, SLOTS)).mean_wait_ms(*LIGHT)
        reference += (await play(Fifo(), jobs, SLOTS)).mean_wait_ms(*LIGHT)
    assert ours <= 0.015 * reference
