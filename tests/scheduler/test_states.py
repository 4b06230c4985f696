"""docs/states.md names every state and every verb, and says of each state what is stored."""

from __future__ import annotations

from pathlib import Path

import pytest
from redis.asyncio import Redis

from scheduler import Outcome, State
from scheduler.inspect import state_of
from scheduler.scripts import VERBS
from tests.scheduler.world import MINUTE, NOW, World, new, some

PAGE = (Path(__file__).parents[2] / "docs" / "states.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_its_row(verb: str) -> None:
    [row] = [line for line in PAGE.splitlines() if line.startswith(f"| **{verb}**")][:1]
    assert row.count("|") == 8


@pytest.mark.parametrize("state", [state for state in State if state is not State.UNKNOWN])
def test_every_state_is_drawn(state: State) -> None:
    assert f"--> {state.value}" in PAGE


@pytest.mark.parametrize("outcome", list(Outcome))
def test_every_outcome_is_explained(outcome: Outcome) -> None:
    assert outcome.value in PAGE


async def test_an_action_on_its_way_through_all_of_them(redis: Redis) -> None:
    world = World(redis)
    await world.worker("w1")

    async def state(action_id: str = "x1") -> State:
        return await state_of(world.engine, world.domain, action_id)

    assert await state() is State.UNKNOWN
    await world.enqueue(*some(3, "acme", "free"), new("x1", "acme", "free", due_ms=NOW + 5))
    assert await state() is State.SCHEDULED
    world.clock.advance(5)
    await world.engine.promote(world.domain)
    assert await state() is State.READY
    await world.claim()
    assert await state() is State.HELD
    world.clock.advance(MINUTE + 1)
    [action] = (await world.claim()).actions
    assert await state() is State.RUNNING
    await world.finish(action, outcome=Outcome.RETRY, due_ms=world.now + 5)
    assert await state() is State.SCHEDULED
    world.clock.advance(5)
    [action] = (await world.claim()).actions
    await world.finish(action, outcome=Outcome.DEAD)
    assert await state() is State.DEAD
