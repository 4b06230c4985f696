"""Tenant law: inside a tier tenants are served by weighted virtual start time.

Equal weights and always backlogged: starts differ by at most one quantum (tests/scheduler/test_laws.py),
worker seconds by at most 5 % (test_long_and_short.py). Here: weights, and how long a newcomer waits.
"""

from __future__ import annotations

from collections import Counter

import pytest

from scheduler.overrides import set_override
from tests.laws.conftest import Prepare
from tests.laws.mutation import mutated
from tests.laws.timeline import Job, Shipping, play
from tests.scheduler.world import World

POLICY = 'default_tier = "t"\n[tiers.t]\npriority = 1\nweight = 2\nfair_by = "{0}"\n'
SLOTS = 10


async def weighted(world: World, tenant: str, weight: float) -> None:
    await set_override(world.engine, [world.domain], tenant, weight=weight, by="test", why="law")


@pytest.mark.parametrize("slots", [1, SLOTS, 50])
async def test_weight_2_gets_twice_weight_1_in_starts(prepare: Prepare, slots: int) -> None:
    """The tier's weight for its tenants, an own one for two of them, over any window of 600 starts."""
    world = await prepare(POLICY.format("count"))
    await weighted(world, "single", 1)
    await weighted(world, "quadruple", 4)
    jobs = [Job(0, tenant, 10) for tenant in ("single", "double", "quadruple") for _ in range(1_200)]
    played = await play(Shipping(world), jobs, slots, until_ms=10 * 1_600 // slots)
    for first in range(0, 700, 100):
        counts = Counter(start.job.tenant for start in played.starts[first : first + 700])
        assert counts["double"] == pytest.approx(2 * counts["single"], rel=0.05)
        assert counts["quadruple"] == pytest.approx(2 * counts["double"], rel=0.05)


async def test_weight_2_gets_twice_weight_1_in_worker_seconds(prepare: Prepare) -> None:
    """Though its actions take a twentieth of the other's."""
    world = await prepare(POLICY.format("run_time"))
    await weighted(world, "long", 1)
    jobs = [Job(0, "long", 2_000) for _ in range(900)] + [Job(0, "short", 100) for _ in range(16_000)]
    played = await play(Shipping(world), jobs, SLOTS, until_ms=220_000)
    used = played.used_ms(20_000, 220_000)
    assert used["short"] == pytest.approx(2 * used["long"], rel=0.05), used


@pytest.mark.parametrize("others", [3, 30])
async def test_a_newcomer_starts_within_one_turn_of_those_waiting(prepare: Prepare, others: int) -> None:
    """It enters at the virtual time: at most one start of each tenant that waits comes before its first."""
    jobs = [Job(0, f"old-{n}", 10) for n in range(others) for _ in range(100)]
    jobs += [Job(1_003 + 97 * n, f"new-{n}", 10) for n in range(10)]
    played = await play(Shipping(await prepare(POLICY.format("count"))), jobs, slots=1, until_ms=4_000)
    waits = [start.wait_ms for start in played.starts if start.job.tenant.startswith("new-")]
    assert len(waits) == 10
    assert max(waits) <= 10 * (others + 1)


async def test_tags_that_do_not_move_are_found_out(prepare: Prepare) -> None:
    sound, unsound = "candidate.tag = candidate.tag + starts * candidate.charge\n", "\n"
    with mutated("claim", sound, unsound), pytest.raises(AssertionError):
        await test_weight_2_gets_twice_weight_1_in_starts(prepare, 1)
