"""discard and prune: dead letters go for good, those that were meant and no others."""

from __future__ import annotations

import pytest

from scheduler.dead_letters import DeadLetters
from tests.scheduler.letters import bury, found, ids
from tests.scheduler.world import DAY, MINUTE, NOW, World, changes, new, some


async def test_discarded(world: World, letters: DeadLetters) -> None:
    await bury(world, *some(3), new("b1", "b"))
    known = await found(letters)
    before = await world.snapshot()
    assert await letters.discard(world.domain, [*known[:2], known[1], known[3]]) == 3
    after = changes(before, await world.snapshot())
    assert set(after) == {"counters", "dead:acme", "dead:b", "dead_tenants"}
    assert (after["dead:b"], after["dead_tenants"]) == (None, {"acme": NOW})
    assert after["counters"]["enterprise:discarded"] == "3"
    assert await ids(letters) == ["acme-0"]


@pytest.mark.parametrize(
    ("keep", "keep_ms", "left"),
    [(100, DAY, 6), (4, DAY, 4), (0, DAY, 0), (100, MINUTE, 3), (2, MINUTE, 2), (100, 0, 0)],
)
async def test_pruned_by_count_and_age(
    world: World, letters: DeadLetters, keep: int, keep_ms: int, left: int
) -> None:
    await bury(world, *some(3))
    world.clock.advance(MINUTE)
    await bury(world, *(new(f"later-{n}") for n in range(3)))
    world.clock.advance(1)
    assert await letters.prune(world.domain, keep=keep, keep_ms=keep_ms) == 6 - left
    expected = [*(f"acme-{n}" for n in range(3)), *(f"later-{n}" for n in range(3))][6 - left :]
    assert await ids(letters, newest_first=False) == expected
    assert ("dead_tenants" in await world.snapshot()) == bool(left)


async def test_pruning_is_bounded(world: World, letters: DeadLetters) -> None:
    await bury(world, *some(30), *some(30, "b"))
    assert await letters.prune(world.domain, keep=5, keep_ms=DAY, most=10) == 20
    assert await letters.tenants(world.domain) == {"acme": 20, "b": 20}
