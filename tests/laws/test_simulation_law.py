"""The simulation starts what the oracle starts, when it starts it, and what the laws' own driver does."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
from redis.asyncio import Redis

from scheduler import NewAction, Outcome, Policy
from scheduler.oracle import Oracle
from scheduler.simulation import Arrival, Fleet, Load, simulate
from tests.laws.conftest import Ship
from tests.laws.timeline import Job, Start, play
from tests.scheduler.world import NOW

TIERS = """
default_tier = "free"
[tiers.gold]
priority = 1
max_concurrency = 1
[tiers.silver]
priority = 2
guaranteed_share = 0.2
fair_by = "run_time"
[tiers.free]
priority = 3
guaranteed_share = 0.1
limits = ["6/minute", "40/hour"]
tier_limits = ["30/minute"]
"""


class Deciding:
    """The oracle as a queue: plain Python, no server and no script."""

    def __init__(self, policy: Policy) -> None:
        self._oracle = Oracle(policy.compile("load"), NOW, lease_ms=10**12)
        self._oracle.extend("w1", register=True)
        self._run_ms: dict[int, int] = {}

    async def arrive(self, jobs: Sequence[tuple[int, Job]], now_ms: int) -> None:
        self._oracle.now_ms = NOW + now_ms
        for number, job in jobs:
            self._run_ms[number] = job.run_ms
            self._oracle.enqueue(NewAction(str(number), job.action_type, job.tenant, job.tier, b""))

    async def turn(self, ended: Sequence[int], slots: int, now_ms: int) -> tuple[list[int], int | None]:
        self._oracle.now_ms = NOW + now_ms
        for number in ended:
            self._oracle.finish(
                "w1", str(number), Outcome.COMPLETED, run_time_us=self._run_ms[number] * 1_000
            )
        if not slots:
            return [], None
        found = self._oracle.claim("w1", slots)
        due_ms = found.next_due_ms - NOW if found.next_due_ms else None
        return [int(action.action_id) for action in found.actions], due_ms


def some_jobs(seed: int) -> list[Job]:
    """Twelve tenants on three tiers, partly there at once; in the order of their arrival."""
    draw = random.Random(seed)
    made = []
    for _ in range(150):
        number = draw.randrange(12)
        tier = ("gold", "silver", "free")[number % 3]
        at_ms = draw.choice((0, draw.randrange(60_000)))
        made.append(Job(at_ms, f"{tier}-{number}", round(draw.expovariate(1 / 700)) + 1, tier))
    return sorted(made, key=lambda job: job.at_ms)


async def simulated(redis: Redis, jobs: Sequence[Job], policy: str) -> list[tuple[str, int, int]]:
    """Tenant, arrival and start of everything that started, on one slot."""
    await redis.flushdb()
    load = Load(
        "jobs",
        "load",
        NOW,
        [Arrival(job.at_ms, job.tenant, job.tier, job.run_ms, job.action_type) for job in jobs],
    )
    played = await simulate(redis, load, Policy.parse(policy), Fleet(1, 1))
    return [(ran.arrival.tenant, ran.arrival.at_ms, ran.start_ms) for ran in played.ran]


def as_started(starts: Sequence[Start]) -> list[tuple[str, int, int]]:
    return [(start.job.tenant, start.job.at_ms, start.at_ms) for start in starts]


@pytest.mark.parametrize("seed", range(6))
async def test_the_simulation_decides_as_the_oracle(redis: Redis, seed: int) -> None:
    jobs = some_jobs(seed)
    foreseen = await play(Deciding(Policy.parse(TIERS)), jobs, 1)
    assert len(foreseen.starts) == len(jobs)
    assert await simulated(redis, jobs, TIERS) == as_started(foreseen.starts)


async def test_the_simulation_plays_as_the_laws_driver(redis: Redis, ship: Ship) -> None:
    jobs = some_jobs(99)
    driven = await play(await ship(TIERS), jobs, 1)
    assert await simulated(redis, jobs, TIERS) == as_started(driven.starts)
