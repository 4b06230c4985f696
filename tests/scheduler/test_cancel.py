"""cancel: what waits is taken out and answered; the owner of a running one is told."""

from __future__ import annotations

from typing import Any

import pytest

from scheduler import Outcome, State, cancelling
from scheduler.inspect import state_of
from tests.scheduler.world import MINUTE, NOW, World, changes, new, some

DONE = f"done:{NOW // 300_000}"


async def test_ready(world: World) -> None:
    await world.enqueue(new("x1", reply_to="c1", unique_key="u"), new("x2"))
    world.clock.advance(7)
    before = await world.snapshot()
    assert await world.cancel("x1", response=b"no") == ["cancelled"]
    after = changes(before, await world.snapshot())
    [event] = after.pop("events")
    after.pop("events_told")
    assert event["lines"] == f"outcome {NOW + 7} x1 embedding.generate acme:enterprise cancelled 7 0 0"
    assert after == {
        "actions": {"x2": "acme:enterprise @"},
        "counters": {"enterprise:enqueued": "2", "enterprise:cancelled": "1"},
        DONE: {"x1": "cancelled"},
        "notify:c1": ["x1\nno"],
        "resp:x1": ["no"],
        "stream acme:enterprise": {"entries": ["x2"]},
        "unique_holders": None,
        "waiting": {"acme:enterprise": "1"},
    }


async def test_the_last_of_its_tenant(world: World) -> None:
    await world.enqueue(new("x1"))
    await world.cancel("x1")
    assert set(await world.unfinished()) == set()


async def test_returned(world: World) -> None:
    await world.enqueue(*some(2))
    await world.engine.release(world.domain, "w1", (await world.claim()).actions)
    assert await world.cancel("acme-0") == ["cancelled"]
    picture = await world.snapshot()
    assert picture["returned:acme:enterprise"] == 1
    assert picture["returned_count"] == {"acme:enterprise": "1"}
    assert picture["waiting"] == {"acme:enterprise": "1"}
    assert picture["stream acme:enterprise"] == {"entries": ["acme-1"], "parked": {"acme-1": 0}}
    assert await world.cancel("acme-1") == ["cancelled"]
    assert await world.unfinished() == {}


@pytest.mark.parametrize("attempted", [False, True])
async def test_scheduled(world: World, attempted: bool) -> None:
    await world.enqueue(new("x1", reply_to="*", due_ms=0 if attempted else NOW + 50))
    if attempted:
        await world.finish(*(await world.claim()).actions, outcome=Outcome.RETRY, due_ms=NOW + 50)
    assert await world.cancel("x1", response=b"no") == ["cancelled"]
    left = await world.unfinished()
    left.pop("mailbox:w1", None)  # it was told of the retry
    assert left == {"resp:x1": ["no"]}
    world.clock.advance(MINUTE)
    assert await world.claim_ids() == []


async def test_held(world: World) -> None:
    await world.enqueue(*some(5, tier="free"))
    await world.finish(*(await world.claim()).actions)
    assert await world.cancel("acme-3") == ["cancelled"]
    assert (await world.snapshot())["held"] == {"acme:free": NOW + MINUTE + 1}
    assert await world.cancel("acme-4") == ["cancelled"]
    assert await world.unfinished() == {}


async def test_running(world: World) -> None:
    await world.worker("w2")
    await world.enqueue(new("x1"))
    await world.claim("w2")
    before = await world.snapshot()
    assert await world.cancel("x1") == ["running"]
    assert changes(before, await world.snapshot()) == {
        "cancelling:w2": {"x1"},
        "cancel_asked": {"x1"},
        "mailbox:w2": ["cancel x1"],
    }


async def test_finishing_forgets_that_it_was_asked(world: World) -> None:
    await world.enqueue(new("x1"))
    claim = await world.claim()
    await world.cancel("x1")
    await world.finish(*claim.actions, outcome=Outcome.CANCELLED)
    assert set(await world.unfinished()) == {"mailbox:w1"}


async def test_unknown_or_ended(world: World) -> None:
    await world.enqueue(new("x1"))
    await world.finish(*(await world.claim()).actions)
    before = await world.snapshot()
    assert await world.cancel("x1", "never") == ["unknown", "unknown"]
    assert await world.snapshot() == before


async def test_the_same_id_twice_in_a_call(world: World) -> None:
    await world.enqueue(*some(3), new("later", due_ms=NOW + 5))
    said = await world.cancel("acme-1", "acme-1", "later", "later")
    assert said == ["cancelled"] * 4
    picture = await world.snapshot()
    assert picture["waiting"] == {"acme:enterprise": "2"}
    assert picture["counters"]["enterprise:cancelled"] == "2"


async def test_nobody_asked_nothing_stored(world: World) -> None:
    await world.enqueue(new("x1"))
    await world.cancel("x1", response=b"no")
    assert not [name for name in await world.snapshot() if name.startswith(("resp:", "notify:"))]


async def test_cancelling_and_coming_back_earns_nothing(world: World) -> None:
    await world.enqueue(*some(5, "a"), *some(5, "b"))
    await world.claim(slots=4)
    before = (await world.snapshot())["ready:enterprise"]
    await world.cancel("a-2", "a-3", "a-4")
    assert (await world.snapshot())["tags:enterprise"] == {"a": before["a"]}
    await world.enqueue(new("a-new", "a"))
    assert (await world.snapshot())["ready:enterprise"] == before


async def test_a_tier_emptied_by_cancelling_forgets_its_tags(world: World) -> None:
    await world.enqueue(*some(3, "a"), *some(1, "b"))
    await world.claim(slots=3)
    await world.cancel("a-2")
    picture = await world.snapshot()
    assert "tags:enterprise" not in picture
    assert picture["fairness"]["vt:enterprise"] == "2000000"


async def test_states_on_the_way(world: World) -> None:
    await world.enqueue(new("x1"))
    assert await state_of(world.engine, world.domain, "x1") is State.READY
    await world.cancel("x1")
    assert await state_of(world.engine, world.domain, "x1") is State.CANCELLED


async def test_many(world: World) -> None:
    await world.enqueue(*some(1_100))
    said = await world.cancel(*[f"acme-{n}" for n in range(1_100)])
    assert said == ["cancelled"] * 1_100
    assert await world.unfinished() == {}


async def test_many_that_run_are_found_without_looking_through_all_workers(world: World) -> None:
    """A script looks once per action; who owns what is asked with small commands."""
    workers = [f"w{n}" for n in range(40)]
    await world.worker(*workers)
    for worker in workers:
        await world.enqueue(*[new(f"{worker}-{n}") for n in range(5)])
        assert len((await world.claim(worker)).actions) == 5
    waiting = [f"waiting-{n}" for n in range(50)]
    await world.enqueue(*[new(each) for each in waiting])
    running = [f"{worker}-{n}" for n in range(5) for worker in workers]
    await world.redis.config_resetstat()
    said = await world.cancel(*running, *waiting, "nobody")
    assert said == ["running"] * 200 + ["cancelled"] * 50 + ["unknown"]
    stats = await world.redis.info("commandstats")
    assert stats["cmdstat_hexists"]["calls"] == 200
    for worker in workers:
        assert {*(await world.engine.extend(world.domain, worker)).cancelled} == {
            f"{worker}-{n}" for n in range(5)
        }


async def test_a_call_is_of_bounded_size(world: World) -> None:
    await world.enqueue(*some(1_000))
    await world.redis.config_resetstat()
    assert {*await world.cancel(*[f"acme-{n}" for n in range(1_000)])} == {"cancelled"}
    stats = await world.redis.info("commandstats")
    calls = sum(stats[name]["calls"] for name in ("cmdstat_evalsha", "cmdstat_eval") if name in stats)
    assert calls >= 1_000 / cancelling.AT_ONCE
    assert await world.unfinished() == {}


async def test_it_changes_hands_while_the_owner_is_looked_up(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.worker("w2")
    await world.enqueue(new("x1"), new("x2"), new("x3"))
    await world.claim("w1")
    asked = 0

    async def and_then(*_: Any) -> dict[str, str]:
        """Whoever is named does not own it any more."""
        nonlocal asked
        asked += 1
        return dict.fromkeys(("x1", "x2", "x3"), "w2")

    monkeypatch.setattr(cancelling, "owners_of", and_then)
    assert await world.cancel("x1", "x2", "x3") == ["running"] * 3
    assert asked == 2
    assert {*(await world.engine.extend(world.domain, "w1")).cancelled} == {"x1", "x2", "x3"}
