"""Bounded law: one script call does bounded work, whatever has piled up; nothing is left of who was served.

Work is counted in the commands that a call runs. Memory by 100,000 tenants: ``python -m benchmarks memory``;
by 5,000 with every key looked at: tests/scheduler/test_laws.py.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

import scheduler
from scheduler import NewAction, Policy
from tests.laws.conftest import Prepare
from tests.laws.mutation import mutated
from tests.laws.test_idle_law import fill, serve_all
from tests.scheduler.test_laws import calls
from tests.scheduler.world import MINUTE, World

POLICY = 'default_tier = "free"\n[tiers.free]\npriority = 1\nlimits = ["{0}/hour"]\n'
MANY = 3_000
SCRIPTS = Path(scheduler.__file__).parent / "scripts"


async def commands(world: World, slots: int) -> int:
    """How many commands a claim runs."""
    before = await calls(world.redis)
    await world.claim(slots=slots)
    spent: Counter[str] = await calls(world.redis) - before
    return sum(spent.values()) - 1  # asking


async def test_tenants_that_a_lowered_limit_stops_are_set_aside_in_bounded_numbers(prepare: Prepare) -> None:
    """3,000 stand ready, none of them may start: a claim looks at some, says that there is more, and goes."""
    world = await prepare(POLICY.format(2))
    await fill(world, MANY, 1)
    await serve_all(world)
    await fill(world, MANY, 1, "again-t")
    world.policy = Policy.parse(POLICY.format(1))
    await world.redis.set(world.key("policy"), world.policy.compile(world.domain).to_json())
    most = await commands(world, 1)
    assert most <= 150
    claims = 1
    while (claim := await world.claim(slots=1)).more:
        assert not claim.actions
        claims += 1
    assert claim.next_due_ms > world.now
    assert claims <= MANY / 30


async def test_holds_that_end_all_at_once_come_back_in_bounded_numbers(prepare: Prepare) -> None:
    world = await prepare(POLICY.format(1))
    await fill(world, MANY, 2)
    while (claim := await world.claim(slots=500)).actions:
        await world.finish(*claim.actions)
    world.clock.advance(60 * MINUTE + 1)
    await world.worker("w1")
    held = len((await world.snapshot())["held"])
    assert held == MANY
    assert await commands(world, 1) <= 150
    assert len((await world.snapshot()).get("held", {})) >= MANY - 100
    served = 1
    while (claim := await world.claim(slots=500)).actions or claim.more:
        await world.finish(*claim.actions)
        served += len(claim.actions)
    assert served == MANY


async def test_delayed_actions_that_are_due_all_at_once_come_in_bounded_numbers(prepare: Prepare) -> None:
    world = await prepare(POLICY.format(1000))
    due_ms = world.now + MINUTE
    await world.enqueue(*(NewAction(f"x{n}", "a.b", f"t{n}", "free", b"{}", due_ms) for n in range(MANY)))
    world.clock.advance(2 * MINUTE)
    await world.worker("w1")
    assert await commands(world, 1) <= 800
    started = 1
    while (claim := await world.claim(slots=500)).actions or claim.more:
        await world.finish(*claim.actions)
        started += len(claim.actions)
    assert started == MANY


async def test_a_claim_without_a_bound_is_found_out(prepare: Prepare) -> None:
    sound, unsound = "end_holds_due(now_ms, DUE_AT_ONCE)\n", "end_holds_due(now_ms, 1000000)\n"
    with mutated("claim", sound, unsound), pytest.raises(AssertionError):
        await test_holds_that_end_all_at_once_come_back_in_bounded_numbers(prepare)


def test_nothing_trims_a_work_stream() -> None:
    """Only bounded streams of the engine's own are trimmed: events, dead letters, operations."""
    texts = {path.name: path.read_text() for path in SCRIPTS.rglob("*.lua")}
    trimming = {
        name: re.findall(r"'(?:XTRIM|XADD)', (\w+)[^\n]*MAXLEN|'XTRIM', (\w+)", text)
        for name, text in texts.items()
        if re.search(r"XTRIM|MAXLEN", text)
    }
    assert set(trimming) <= {"events.lua", "bury.lua", "operations.lua", "prune.lua"}, trimming
