"""Poison: an action with which worker after worker dies ends in the dead letters, and answers."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from scheduler import Finish, Outcome
from scheduler.dead_letters import DeadLetters, LetterFilter, OpenedLetter
from scheduler.poison import APART_MS, Poisoned, PoisonRule, bury
from tests.scheduler.picture import Picture
from tests.scheduler.world import DOMAIN, NOW, World, new, some


async def die(world: World, name: str, slots: int = 10) -> list[str]:
    """A worker of that name claims and is never heard of again."""
    await world.worker(name)
    held = await world.claim_ids(name, slots)
    world.clock.advance(world.engine.lease_ms + 1)
    return held


async def letter(world: World, tenant: str = "acme") -> OpenedLetter:
    letters = DeadLetters(world.engine)
    [[found]] = [page async for page in letters.pages(DOMAIN, LetterFilter(tenant_id=tenant))]
    opened = await letters.open(DOMAIN, tenant, found.letter_id)
    assert opened is not None
    return opened


async def test_after_so_many_deaths_it_is_dead_and_answered(world: World) -> None:
    def close(poisoned: Poisoned) -> Finish:
        return Finish(poisoned.action, Outcome.DEAD, b"it kills", reason=poisoned.reason)

    world.engine.poison = PoisonRule(deaths=3, close=close)
    await world.enqueue(new("x1", reply_to="c1", unique_key="u"))
    for n in (1, 2):
        assert await die(world, f"dead-{n}") == ["x1"]
        assert await world.engine.reclaim(DOMAIN, worker_id=f"dead-{n}") == (1, 1)
    assert await die(world, "dead-3") == ["x1"]
    assert await world.engine.reclaim(DOMAIN, worker_id="dead-3") == (1, 1)
    opened = await letter(world)
    assert opened.letter.reason == "poison: 3 workers died while they ran it, the last was dead-3"
    assert opened.payload == b'{"id":"x1"}'
    assert [(each.attempt, each.worker, each.died) for each in opened.attempts] == [
        (1, "dead-1", True),
        (2, "dead-2", True),
        (3, "dead-3", False),
    ]
    picture = await world.snapshot()
    assert (picture["resp:x1"], picture["notify:c1"]) == (["it kills"], ["x1\nit kills"])
    assert set(picture["workers"]) == {"w1"}
    assert set(await world.unfinished()) == {"resp:x1", "notify:c1"}


async def test_failures_and_deaths_are_counted_apart(world: World) -> None:
    world.engine.poison = PoisonRule(deaths=2)
    await world.enqueue(new("x1"))
    for _ in range(5):
        [action] = (await world.claim()).actions
        await world.finish(action, outcome=Outcome.RETRY, due_ms=0, reason="OSError: x")
    assert await die(world, "dead-1") == ["x1"]
    await world.engine.reclaim(DOMAIN, worker_id="dead-1")
    await world.worker("w1")
    [action] = (await world.claim()).actions
    assert action.attempt == 7
    await world.finish(action)
    assert "attempts" not in await world.snapshot()


async def test_on_its_last_chance_it_starts_apart_from_the_others(world: World) -> None:
    """The innocent ones that ran beside it come through."""
    world.engine.poison = PoisonRule(deaths=3)
    await world.enqueue(*some(20), new("killer"))
    for n in (1, 2):
        assert len(await die(world, f"dead-{n}", 50)) == 21
        await world.engine.reclaim(DOMAIN, worker_id=f"dead-{n}")
    due = sorted((await world.snapshot())["scheduled"].values())
    assert due == [world.now + n * APART_MS for n in range(21)]
    done: list[str] = []
    for n in range(100):
        await world.worker(f"w{n}")
        actions = (await world.claim(f"w{n}", 50)).actions
        assert len(actions) <= 1
        if any(action.action_id == "killer" for action in actions):
            world.clock.advance(world.engine.lease_ms + 1)
            await world.engine.reclaim(DOMAIN, worker_id=f"w{n}")
            break
        await world.finish(*actions, worker=f"w{n}")
        done += [action.action_id for action in actions]
        world.clock.advance(APART_MS / 2)
    assert (await letter(world)).letter.action_id == "killer"
    await world.worker("w1")
    left = await world.claim("w1", 50)
    innocent = {*done, *(action.action_id for action in left.actions)}
    assert innocent == {f"acme-{n}" for n in range(20)}


async def test_one_alone_starts_again_at_once(world: World) -> None:
    world.engine.poison = PoisonRule(deaths=2)
    await world.enqueue(new("x1"))
    await die(world, "dead-1")
    await world.engine.reclaim(DOMAIN, worker_id="dead-1")
    await world.worker("w1")
    assert await world.claim_ids() == ["x1"]


async def test_whoever_stops_before_the_end_is_said_changes_nothing(world: World) -> None:
    told: list[Poisoned] = []

    def stops(poisoned: Poisoned) -> Finish:
        told.append(poisoned)
        if len(told) == 1:
            raise ConnectionError("gone")
        return bury(poisoned)

    world.engine.poison = PoisonRule(deaths=1, close=stops)
    await world.enqueue(new("x1"))
    await die(world, "dead-1")
    before = await world.snapshot()
    with pytest.raises(ConnectionError):
        await world.engine.reclaim(DOMAIN, worker_id="dead-1")
    assert await world.snapshot() == before
    assert await world.engine.reclaim(DOMAIN, worker_id="dead-1") == (1, 1)
    assert told[0] == told[1]
    assert (await letter(world)).letter.action_id == "x1"


async def test_many_are_told_in_turns_and_racing_reclaimers_bury_each_once(world: World) -> None:
    world.engine.poison = PoisonRule(deaths=1)
    await world.enqueue(*some(90))
    await die(world, "dead-1", 100)
    said = await asyncio.gather(*(world.engine.reclaim(DOMAIN, worker_id="dead-1") for _ in range(4)))
    assert sum(each.actions for each in said) == 90
    assert await DeadLetters(world.engine).tenants(DOMAIN) == {"acme": 90}
    Picture(await world.snapshot()).check_laws()
    assert await world.unfinished() == {}


async def test_a_worker_that_lives_after_all_is_refused_or_first(world: World) -> None:
    world.engine.poison = PoisonRule(deaths=1)
    await world.enqueue(new("x1", reply_to="*"))
    await world.worker("slow")
    [action] = (await world.claim("slow")).actions
    world.clock.advance(world.engine.lease_ms + 1)
    await world.engine.reclaim(DOMAIN, worker_id="slow")
    before = await world.snapshot()
    assert await world.finish(action, worker="slow", response=b"late") == [False]
    assert await world.snapshot() == before


async def test_an_entry_that_somebody_deleted_is_lost_not_poisoned(world: World) -> None:
    world.engine.poison = PoisonRule(deaths=1)
    await world.enqueue(new("x1"))
    await die(world, "dead-1")
    await world.redis.delete(world.stream())
    assert await world.engine.reclaim(DOMAIN, worker_id="dead-1") == (1, 1)
    assert "was deleted by somebody else" in (await letter(world)).letter.reason


@pytest.mark.parametrize("odd", [{"deadline_ms": NOW + 5}, {"tier": "solo"}, {"tenant": "b"}])
async def test_whatever_it_is(world: World, odd: dict[str, Any]) -> None:
    world.engine.poison = PoisonRule(deaths=1)
    await world.enqueue(new("x1", **odd))
    await die(world, "dead-1")
    await world.engine.reclaim(DOMAIN)
    await world.engine.reclaim(DOMAIN)
    assert (await letter(world, odd.get("tenant", "acme"))).letter.action_id == "x1"
    assert await world.unfinished() == {}
