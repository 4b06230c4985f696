"""claim of many lines: they are read together, and what is written of them is found by name."""

from __future__ import annotations

from typing import Any

from scheduler import Outcome
from tests.scheduler.world import World, ids, new

LINES = 12


async def _fill(world: World, each: int = 1) -> None:
    await world.enqueue(*[new(f"x{n}-{m}", f"t{n}") for n in range(LINES) for m in range(each)])


async def _reads(world: World) -> int:
    stats: Any = await world.redis.info("commandstats")
    return int(stats.get("cmdstat_xreadgroup", {"calls": 0})["calls"])


async def test_lines_that_are_asked_for_as_many_are_read_by_one_command(world: World) -> None:
    await _fill(world, 3)
    before = await _reads(world)
    actions = (await world.claim(slots=2 * LINES)).actions
    assert len({action.tenant_id for action in actions}) == 8  # all that each has
    assert await _reads(world) == before + 1
    assert await world.finish(*actions) == [True] * 2 * LINES
    assert len(await world.claim_ids(slots=100)) == LINES


async def test_a_deleted_stream_keeps_nothing_from_the_others(world: World) -> None:
    await _fill(world)
    await world.redis.delete(world.stream("t3"))
    await world.redis.set(world.stream("t5"), "somebody else's")
    claim = await world.claim(slots=100)
    assert sorted(ids(claim.actions)) == sorted(f"x{n}-0" for n in range(LINES) if n not in (3, 5))
    assert not await world.redis.exists(world.key("ready", "enterprise"))


async def test_what_a_worker_owns_is_found_by_name_and_is_no_more_than_that(world: World) -> None:
    await _fill(world)
    actions = (await world.claim(slots=100)).actions
    owned: Any = await world.redis.hgetall(world.key("owned", "w1"))
    assert set(owned) == {action.action_id.encode() for action in actions}
    assert await world.redis.object("ENCODING", world.key("owned", "w1")) == b"hashtable"
    await world.finish(*actions, outcome=Outcome.COMPLETED)
    assert not await world.unfinished()
