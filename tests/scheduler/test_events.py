"""The event stream: bounded by what is told in it, however calls share that."""

from __future__ import annotations

from typing import Any

from scheduler import scripts
from scheduler.inspect import OutcomeEvent, recent_events
from tests.scheduler.world import World, some

MARK, KEPT = 131_072, 40 * 131_072
A_NODE = 8_192
"""What a stream lets go of at once: a node of it, which a larger entry has for itself."""

TELLING = """
-- @argv lines:int size:int
-- @include events
local told = {}
for n = 1, lines do told[n] = string.rep('x', size) end
tell(told)
"""


async def tell(world: World, lines: int, size: int, times: int = 1) -> None:
    """So many calls, each of which tells so many lines of that size."""
    script = scripts.compose("telling", TELLING)
    await world.redis.script_load(script.text)
    pipeline = world.redis.pipeline(transaction=False)
    for _ in range(times):
        pipeline.execute_command(*script.command(world.keys.root(world.domain), [lines, size]))
    await pipeline.execute()


async def told(world: World) -> list[int]:
    """The sizes of the calls' texts that are still there, oldest first."""
    entries: list[Any] = await world.redis.xrange(world.key("events"))
    return [len(fields[b"lines"]) for _, fields in entries]


async def test_a_call_that_tells_much_takes_nothing_from_the_others(world: World) -> None:
    """All that 1,500 calls told is still there after one that told of 300 actions."""
    await tell(world, 1, 100, 1_500)
    await world.worker("w1")
    await world.enqueue(*some(300))
    await world.finish(*(await world.claim(slots=300)).actions)
    assert len(await told(world)) == 1_501
    events, _ = await recent_events(world.engine, world.domain, "0-0", count=2_000)
    assert len([event for event in events if isinstance(event, OutcomeEvent)]) == 300


async def test_small_calls_are_kept_up_to_the_bound(world: World) -> None:
    await tell(world, 1, 100, 70_000)
    assert KEPT - MARK <= sum(await told(world)) <= KEPT + MARK + A_NODE


async def test_large_calls_are_kept_up_to_the_bound(world: World) -> None:
    """Where one sets no mark, one or several."""
    for size in (30_000, 140_000, 700_000):
        await tell(world, 1, size, 3 * KEPT // size)
        assert KEPT - MARK - size <= sum(await told(world)) <= KEPT + MARK + size + A_NODE


async def test_a_call_that_tells_more_than_is_kept_is_all_that_is_kept(world: World) -> None:
    await tell(world, 1, 100, 2_000)
    await tell(world, 2, KEPT)
    await tell(world, 1, 100, 2_000)
    assert max(await told(world)) == 2 * KEPT + 1
    await tell(world, 1, 1_000, 2 * KEPT // 1_000)
    assert KEPT - MARK <= sum(await told(world)) <= KEPT + MARK + A_NODE


async def test_what_the_marks_take_is_bounded(world: World) -> None:
    await tell(world, 1, MARK, 100)
    assert await world.redis.llen(world.key("events_marks")) == 40


async def test_events_that_an_operator_removed_come_back(world: World) -> None:
    await tell(world, 1, MARK, 50)
    await world.redis.delete(world.key("events"))
    await tell(world, 1, 1_000, 3 * KEPT // 1_000)
    assert KEPT - MARK <= sum(await told(world)) <= KEPT + MARK + A_NODE
