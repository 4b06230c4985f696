"""Loads made of a seed: the same seed, the same arrivals and run times, whoever decides."""

from __future__ import annotations

import random

from tests.laws.timeline import Job


def _exponential(draw: random.Random, mean_ms: float) -> int:
    return max(1, round(draw.expovariate(1 / mean_ms)))


def backlog(draw: random.Random, tenant: str, count: int, run_ms: float, *, at_ms: int = 0) -> list[Job]:
    """All there at once; run times scatter around their mean."""
    return [Job(at_ms, tenant, _exponential(draw, run_ms)) for _ in range(count)]


def trickle(
    draw: random.Random, tenant: str, count: int, run_ms: float, *, per_s: float, at_ms: int = 0
) -> list[Job]:
    """One by one, as a Poisson process."""
    jobs = []
    for number in range(count):
        at_ms += _exponential(draw, 1000 / per_s) if number else 0
        jobs.append(Job(at_ms, tenant, _exponential(draw, run_ms)))
    return jobs
