"""Being fair costs no time: no slot idles while somebody waits, and a load is done as soon as first come,
first served would have it done.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from tests.laws.conftest import Ship
from tests.laws.loads import backlog, trickle
from tests.laws.test_key_minting import minted
from tests.laws.test_skewed_load import skewed, trickling
from tests.laws.timeline import Fifo, Job, play

TIERS = """
default_tier = "free"
[tiers.gold]
priority = 1
[tiers.silver]
priority = 2
guaranteed_share = 0.2
fair_by = "run_time"
[tiers.free]
priority = 3
guaranteed_share = 0.1
"""


@pytest.mark.parametrize("load", [skewed, trickling, minted])
async def test_the_makespan_is_at_most_one_percent_longer(
    ship: Ship, load: Callable[[int], list[Job]]
) -> None:
    ours = reference = 0
    for seed in range(3):
        ours += (await play(await ship(), load(seed), 4)).makespan_ms
        reference += (await play(Fifo(), load(seed), 4)).makespan_ms
    assert ours <= 1.01 * reference


@pytest.mark.parametrize("slots", [1, 4, 20])
async def test_no_slot_idles_while_somebody_waits(ship: Ship, slots: int) -> None:
    """Three tiers, long and short actions, some there at once and some later."""
    draw = random.Random(slots)
    jobs: list[Job] = []
    for number, tier in enumerate(["gold", "silver", "free"] * 4):
        tenant, run_ms = f"{tier}-{number}", 10 * 3 ** (number % 4)
        some = (
            backlog(draw, tenant, 40, run_ms) if number % 2 else trickle(draw, tenant, 40, run_ms, per_s=20)
        )
        jobs += [job._replace(tier=tier) for job in some]
    played = await play(await ship(TIERS), jobs, slots)
    assert len(played.starts) == len(jobs)
    assert played.idle_while_waiting_ms(slots) == 0
