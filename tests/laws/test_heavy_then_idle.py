"""Heavy, then idle: what a tenant used with nobody in its way is not held against it, what it used ahead of
others is; and a tenant that is alone has every slot.

Trigger.dev's study: one tenant alone, 200 actions of 25 ms, four slots. A static cap per tenant takes
2,507 ms, a fair order 1,240 ms, the same as first come, first served.
"""

from __future__ import annotations

import random

from scheduler.turns import quantum
from tests.laws.conftest import Prepare, Ship
from tests.laws.loads import backlog
from tests.laws.timeline import Fifo, Job, Shipping, play

SLOTS, RUN_MS = 4, 25


async def test_a_tenant_that_is_alone_has_every_slot(ship: Ship) -> None:
    jobs = backlog(random.Random(1), "heavy", 200, RUN_MS)
    ours, reference = await play(await ship(), jobs, SLOTS), await play(Fifo(), jobs, SLOTS)
    assert ours.makespan_ms == reference.makespan_ms
    assert ours.mean_wait_ms("heavy") == reference.mean_wait_ms("heavy")


async def test_what_was_used_while_alone_is_not_paid_back(prepare: Prepare) -> None:
    """Heavy has had 400 starts when the other comes: from then on they take turns."""
    jobs = [Job(0, "heavy", 10) for _ in range(800)] + [Job(4_000, "late", 10) for _ in range(200)]
    played = await play(Shipping(await prepare()), jobs, slots=1)
    both = [start for start in played.starts if 4_000 <= start.at_ms < 6_000]
    heavy = sum(start.job.tenant == "heavy" for start in both)
    assert len(both) == 200
    assert abs(heavy - 100) <= 1


async def test_a_tenant_that_was_away_is_owed_nothing(prepare: Prepare) -> None:
    """Both had forty starts, one had no more and comes back with a hundred: from there they take turns."""
    jobs = [Job(0, "heavy", 10) for _ in range(40)] + [Job(0, "steady", 10) for _ in range(400)]
    jobs += [Job(5, "heavy", 10) for _ in range(100)]
    played = await play(Shipping(await prepare()), jobs, slots=80)
    for at_ms in (0, 10):
        both = [start for start in played.starts if start.at_ms == at_ms]
        heavy = sum(start.job.tenant == "heavy" for start in both)
        assert len(both) == 80
        assert abs(heavy - 40) <= quantum(80), at_ms


async def test_leaving_and_coming_back_all_the_time_earns_nothing(prepare: Prepare) -> None:
    """A tenant that sends two actions whenever two slots are free could have both slots; it gets its half."""
    jobs = [Job(0, "steady", 10) for _ in range(300)]
    jobs += [Job(n * 10, "hopper", 10) for n in range(300) for _ in range(2)]
    played = await play(Shipping(await prepare()), jobs, slots=2)
    both = [start for start in played.starts if start.at_ms < 2_900]
    hopper = sum(start.job.tenant == "hopper" for start in both)
    assert abs(2 * hopper - len(both)) <= 2
