"""Idle law: what a claim costs depends on how many it serves, not on how many wait or were ever there.

Counted in the commands that the script runs, which no machine's load changes. The same in CPU and
milliseconds, with 100,000 idle tenants: ``python -m benchmarks scaling``. What an idle worker costs:
tests/nooble_tasks/test_worker.py.
"""

from __future__ import annotations

from collections import Counter

import pytest

from scheduler import Finish, NewAction, Outcome
from tests.laws.conftest import Prepare
from tests.laws.mutation import mutated
from tests.scheduler.test_laws import calls
from tests.scheduler.world import World

POLICY = """
default_tier = "free"
[tiers.gold]
priority = 1
[tiers.free]
priority = 2
guaranteed_share = 0.1
limits = ["100/minute", "1000/day"]
"""
SLOTS = 10


async def fill(world: World, tenants: int, each: int, prefix: str = "t") -> None:
    """So many tenants with so many actions each."""
    actions = [
        NewAction(f"{prefix}{tenant}-{n}", "a.b", f"{prefix.rpartition('-')[2]}{tenant}", "free", b"{}")
        for n in range(each)
        for tenant in range(tenants)
    ]
    await world.enqueue(*actions)


async def serve_all(world: World) -> None:
    """Until nothing waits."""
    while (claim := await world.claim(slots=500)).actions:
        await world.finish(*claim.actions)


async def cost_of_turns(world: World, turns: int = 5) -> Counter[str]:
    """Commands of some turns of a worker that takes ten and hands in ten."""
    claim = await world.claim(slots=SLOTS)
    before = await calls(world.redis)
    for _ in range(turns):
        finishes = [Finish(action, Outcome.COMPLETED) for action in claim.actions]
        _, claim = await world.engine.finish_and_claim(world.domain, "w1", finishes, SLOTS)
        assert len({action.tenant_id for action in claim.actions}) == SLOTS
    spent = await calls(world.redis) - before
    spent.pop("cmdstat_info", None)
    return spent


async def check_flat(prepare: Prepare, most: int) -> None:
    costs = []
    for waiting, idle in [(20, 0), (200, 0), (most, 0), (20, most)]:
        world = await prepare(POLICY)
        if idle:
            await fill(world, idle, 1, "idle")
            await serve_all(world)
        await fill(world, waiting, max(120 // waiting, 3))
        costs.append(await cost_of_turns(world))
    for cost in costs[1:]:
        assert abs(sum(cost.values()) - sum(costs[0].values())) <= 5, (cost, costs[0])


async def test_commands_of_a_claim_are_the_same_for_20_and_for_10_000_tenants(prepare: Prepare) -> None:
    await check_flat(prepare, 10_000)


async def test_a_claim_that_looks_at_everybody_is_found_out(prepare: Prepare) -> None:
    sound = "local has_rare = anything_rare()\n"
    every = "for _, t in ipairs(redis.call('ZRANGE', ready_prefix .. 'free', 0, -1)) do"
    unsound = f"{sound}{every} redis.call('HGET', waiting_key, t) end\n"
    with mutated("claim", sound, unsound), pytest.raises(AssertionError):
        await check_flat(prepare, 300)
