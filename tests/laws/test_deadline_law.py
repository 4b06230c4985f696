"""Deadline law: nothing starts at or after its deadline; what is past it is answered, not run, and charged to
nobody.

How the deadline shortens an attempt's timeout and travels to nested actions is shown by tests/nooble_tasks
(test_executor.py, test_context.py, test_client.py).
"""

from __future__ import annotations

import pytest

from scheduler import Outcome
from tests.laws.conftest import Prepare
from tests.laws.mutation import mutated
from tests.scheduler.world import new

POLICY = 'default_tier = "t"\n[tiers.t]\npriority = 1\nlimits = ["1/minute"]\n'


@pytest.mark.parametrize(("left_ms", "expired"), [(1, False), (0, True), (-1, True), (-7_200_000, True)])
async def test_the_deadline_is_the_first_moment_that_is_too_late(
    prepare: Prepare, left_ms: int, expired: bool
) -> None:
    world = await prepare(POLICY)
    await world.enqueue(new("x", "a", "t", deadline_ms=world.now + 10_000_000, reply_to="*"))
    world.clock.advance(10_000_000 - left_ms)
    await world.worker("w1")
    (action,) = (await world.claim()).actions
    assert action.expired == expired


async def test_what_is_past_its_deadline_is_charged_to_nobody(prepare: Prepare) -> None:
    """Neither the limit of one per minute nor the tenant's virtual time is spent by it."""
    world = await prepare(POLICY)
    late = [new(f"late-{n}", "a", "t", deadline_ms=world.now + 5) for n in range(4)]
    await world.enqueue(*late, new("in-time", "a", "t"))
    world.clock.advance(5)
    started = []
    for _ in range(5):
        for action in (await world.claim(slots=1)).actions:
            started += [] if action.expired else [action.action_id]
            await world.finish(action, outcome=Outcome.EXPIRED if action.expired else Outcome.COMPLETED)
    assert started == ["in-time"]


@pytest.mark.parametrize("outcome", [Outcome.RETRY, Outcome.SNOOZED])
async def test_another_attempt_does_not_start_after_it_either(prepare: Prepare, outcome: Outcome) -> None:
    world = await prepare()
    await world.enqueue(new("x", "a", "t", deadline_ms=world.now + 1_000))
    await world.finish(*(await world.claim()).actions, outcome=outcome, due_ms=world.now + 2_000)
    world.clock.advance(2_000)
    (action,) = (await world.claim()).actions
    assert action.expired


async def test_a_script_without_deadlines_is_found_out(prepare: Prepare) -> None:
    sound = "local is_start = deadline_ms == '0' or tonumber(deadline_ms) > now"
    with mutated("claim", sound, "local is_start = true"), pytest.raises(AssertionError):
        await test_what_is_past_its_deadline_is_charged_to_nobody(prepare)
