"""Key minting: one customer spreads its work over many names to be served more often.

Names are what the engine knows, so ten names get ten shares, and no more than that. The load is that of
Trigger.dev's study: ten names with 30 actions each, and one tenant that sends 20. Their figures, mean wait of
that tenant: 1,767 ms oldest first, 462 ms by virtual time, 496 ms by deficit round robin (26 % and 28 %).
"""

from __future__ import annotations

import random

import pytest

from tests.laws.conftest import Prepare, Ship
from tests.laws.loads import backlog, trickle
from tests.laws.timeline import Fifo, Job, Shipping, play

SLOTS, RUN_MS = 4, 25


def minted(seed: int) -> list[Job]:
    draw = random.Random(seed)
    jobs = [job for n in range(10) for job in backlog(draw, f"heavy-{n}", 30, RUN_MS)]
    return jobs + trickle(draw, "light", 20, RUN_MS, per_s=40)


async def test_ten_names_get_no_more_than_ten_shares(ship: Ship) -> None:
    ours = reference = 0.0
    for seed in range(4):
        ours += (await play(await ship(), minted(seed), SLOTS)).mean_wait_ms("light")
        reference += (await play(Fifo(), minted(seed), SLOTS)).mean_wait_ms("light")
    assert ours <= 0.3 * reference


async def test_a_name_for_every_action_passes_nobody(prepare: Prepare) -> None:
    """New names enter where virtual time is: an honest tenant starts once for every one of them."""
    world = await prepare()
    jobs = [Job(0, "honest", 10) for _ in range(300)]
    jobs += [Job(n * 10, f"minted-{n}", 10) for n in range(200)]
    played = await play(Shipping(world), jobs, slots=2)
    contended = [start for start in played.starts if start.at_ms < 2_000]
    honest = sum(start.job.tenant == "honest" for start in contended)
    assert abs(honest - (len(contended) - honest)) <= 2, honest
    assert max(start.wait_ms for start in played.starts if start.job.tenant != "honest") <= 10


async def test_names_that_were_used_before_have_saved_up_nothing(prepare: Prepare) -> None:
    """Twenty names, served and idle again, come back together: one turn each, not more."""
    world = await prepare()
    names = [f"name-{n}" for n in range(20)]
    jobs = [Job(0, "honest", 10) for _ in range(400)] + [Job(0, name, 10) for name in names]
    jobs += [Job(2_000, name, 10) for name in names for _ in range(5)]
    played = await play(Shipping(world), jobs, slots=1)
    after = [start for start in played.starts if start.at_ms >= 2_000][:42]
    assert sum(start.job.tenant == "honest" for start in after) == 2


@pytest.mark.parametrize("name", ["aaa", "zzz"])
@pytest.mark.parametrize(("per_start", "at_least"), [(0.9, 30), (1.0, 15), (1.5, 5)])
async def test_ever_new_names_do_not_starve_who_waits(
    prepare: Prepare, name: str, per_start: float, at_least: int
) -> None:
    """New names ask for as much as there is, or more, for ever; who waits is a name among those waiting.

    Start-time fair queueing alone gives it nothing here: each new name enters at the virtual time, is served
    at it, and so keeps it where it is.
    """
    jobs = [Job(0, "honest", 10) for _ in range(100)]
    jobs += [Job(int(10 * n / per_start), f"{name}-{n}", 10) for n in range(int(300 * per_start))]
    played = await play(Shipping(await prepare()), jobs, slots=1, until_ms=3_000)
    assert len(played.of("honest")) >= at_least
