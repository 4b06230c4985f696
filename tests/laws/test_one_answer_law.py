"""One-answer law: at least once to run, exactly one accepted finish. Who lost the lease can write nothing.

On live workers, with kills, pauses and replies lost on the way: tests/faults.
"""

from __future__ import annotations

import pytest

from scheduler import Outcome
from tests.laws.conftest import Prepare
from tests.laws.mutation import mutated
from tests.scheduler.world import new

HOUR_MS = 3_600_000


@pytest.mark.parametrize("outcome", list(Outcome))
async def test_of_all_who_owned_it_only_the_last_can_finish(prepare: Prepare, outcome: Outcome) -> None:
    """Two workers, one of them twice: the token tells its claims apart."""
    world = await prepare()
    await world.enqueue(new("x", "a", "t", reply_to="*"))
    owners = []
    for worker in ("w1", "w2", "w1"):
        await world.worker(worker)
        (action,) = (await world.claim(worker)).actions
        owners.append((worker, action))
        if len(owners) < 3:
            world.clock.advance(HOUR_MS)
            assert (await world.engine.reclaim(world.domain)).actions == 1
    before = await world.snapshot()
    for worker, action in owners[:2]:
        await world.worker(worker)
        before = await world.snapshot()
        assert await world.finish(action, worker=worker, outcome=outcome, response=b"late") == [False]
        assert await world.engine.release(world.domain, worker, [action]) == 0
        assert await world.snapshot() == before
    assert await world.finish(owners[2][1], response=b"right") == [True]
    assert await world.finish(owners[2][1], response=b"again") == [False]
    assert await world.redis.lrange(world.key("response", "x"), 0, -1) == [b"right"]


async def test_a_finish_that_takes_any_token_is_found_out(prepare: Prepare) -> None:
    sound, unsound = "local from, at = find(record, token, 1, true)", "local from, at = find(record, '^%d+ ')"
    with mutated("finish", sound, unsound), pytest.raises(AssertionError):
        await test_of_all_who_owned_it_only_the_last_can_finish(prepare, Outcome.COMPLETED)
