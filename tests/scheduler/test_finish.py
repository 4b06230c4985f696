"""finish: seed, one call, everything that changed."""

from __future__ import annotations

from typing import Any

import pytest

from scheduler import Claimed, Finish, Outcome
from scheduler.batches import MAX_ITEMS
from tests.scheduler.world import MINUTE, NOW, World, changes, new, some

DONE = f"done:{NOW // 300_000}"


async def claimed(world: World, **more: Any) -> Claimed:
    await world.enqueue(new("x1", **more))
    [action] = (await world.claim(slots=1)).actions
    return action


def without_events(picture: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in picture.items() if name not in ("events", "events_told")}


@pytest.mark.parametrize("outcome", ["completed", "cancelled", "expired"])
async def test_closed(world: World, outcome: str) -> None:
    action = await claimed(world)
    before = await world.snapshot()
    assert await world.finish(action, outcome=Outcome(outcome), response=b"nobody asked") == [True]
    after = changes(before, await world.snapshot())
    [event] = after["events"]
    assert event["lines"].startswith(f"outcome {NOW} x1 embedding.generate acme:enterprise {outcome} 0 0 1")
    assert without_events(after) == {
        "actions": None,
        "counters": {"enterprise:enqueued": "1", f"enterprise:{outcome}": "1"},
        DONE: {"x1": outcome},
        "owned:w1": None,
        "stream acme:enterprise": None,
    }


async def test_dead(world: World) -> None:
    action = await claimed(world)
    before = await world.snapshot()
    await world.finish(action, outcome=Outcome.DEAD, reason="gave up: naïve")
    after = without_events(changes(before, await world.snapshot()))
    assert after == {
        "actions": None,
        "counters": {"enterprise:enqueued": "1", "enterprise:dead": "1"},
        DONE: {"x1": "dead"},
        "dead:acme": [
            {
                "tier": "enterprise",
                "at": str(NOW),
                "reason": "gave up: naïve",
                "attempt": "1",
                "head": f"v1 x1 0 embedding.generate {NOW} - -",
                "data": '{"id":"x1"}',
                "attempts": f'{{"attempt": 1, "ended_ms": {NOW}, "worker": "w1", '
                '"error": "gave up: na\\u00efve", "run_time_us": 0}',
            }
        ],
        "dead_tenants": {"acme": NOW},
        "owned:w1": None,
        "stream acme:enterprise": None,
    }


@pytest.mark.parametrize(("outcome", "deliveries"), [("retry", 1), ("snoozed", 0)])
async def test_again_later(world: World, outcome: str, deliveries: int) -> None:
    action = await claimed(world)
    before = await world.snapshot()
    await world.finish(action, outcome=Outcome(outcome), due_ms=NOW + 100, response=b"not yet")
    assert without_events(changes(before, await world.snapshot())) == {
        "counters": {"enterprise:enqueued": "1", f"enterprise:{outcome}": "1"},
        "owned:w1": None,
        "scheduled": {"x1": NOW + 100},
        "stream acme:enterprise": {"entries": ["x1"], "parked": {"x1": deliveries}},
    }
    world.clock.advance(100)
    [action] = (await world.claim()).actions
    assert action.attempt == deliveries + 1


@pytest.mark.parametrize(("outcome", "deliveries"), [("retry", 1), ("snoozed", 0)])
async def test_again_at_once(world: World, outcome: str, deliveries: int) -> None:
    action = await claimed(world)
    before = await world.snapshot()
    await world.finish(action, outcome=Outcome(outcome), due_ms=NOW)
    assert without_events(changes(before, await world.snapshot())) == {
        "counters": {"enterprise:enqueued": "1", f"enterprise:{outcome}": "1"},
        "owned:w1": None,
        "ready:enterprise": {"acme": 1_000_000},
        "returned:acme:enterprise": 1,
        "returned_count": {"acme:enterprise": "1"},
        "stream acme:enterprise": {"entries": ["x1"], "parked": {"x1": deliveries}},
        "waiting": {"acme:enterprise": "1"},
    }
    assert (await world.claim()).actions[0].attempt == deliveries + 1


@pytest.mark.parametrize("due_ms", [NOW, NOW + 100])
async def test_again_wakes_a_sleeper(world: World, due_ms: int) -> None:
    """For what is due later, too: it planned its sleep without it."""
    await world.worker("w2")
    action = await claimed(world)
    await world.claim("w2")
    await world.finish(action, outcome=Outcome.RETRY, due_ms=due_ms)
    assert await world.mailbox("w2") == ["wake"]


@pytest.mark.parametrize("why", ["finished", "released", "reclaimed", "claimed by another", "wrong token"])
async def test_who_does_not_own_it_writes_nothing(world: World, why: str) -> None:
    await world.worker("w2")
    action = await claimed(world, reply_to="c1", unique_key="u")
    match why:
        case "finished":
            await world.finish(action)
        case "released":
            await world.engine.release(world.domain, "w1", [action])
        case "reclaimed" | "claimed by another":
            world.clock.advance(world.engine.lease_ms + 1)
            await world.engine.extend(world.domain, "w2")
            await world.engine.reclaim(world.domain)
            if why == "claimed by another":
                await world.claim("w2")
        case _:
            action = action._replace(token=action.token + 1)
    before = await world.snapshot()
    for outcome in Outcome:
        late: dict[str, Any] = {"response": b"r", "due_ms": NOW + 5, "reason": "x", "callback": b"c"}
        queue = world.keys.callback(world.domain, "me", "done")
        assert await world.finish(action, outcome=outcome, callback_queue=queue, **late) == [False]
    assert await world.snapshot() == before


async def test_the_same_item_twice(world: World) -> None:
    action = await claimed(world, reply_to="*")
    assert await world.finish(action, action, response=b"r") == [True, False]
    assert (await world.snapshot())["resp:x1"] == ["r"]


async def test_some_are_refused(world: World) -> None:
    await world.enqueue(*some(3))
    actions = (await world.claim()).actions
    await world.finish(actions[1])
    assert await world.finish(*actions) == [True, False, True]
    assert "actions" not in await world.snapshot()


async def test_response_is_stored_and_announced(world: World) -> None:
    action = await claimed(world, reply_to="c1")
    await world.finish(action, response=b'{"ok":true}')
    picture = await world.snapshot()
    assert picture["resp:x1"] == ['{"ok":true}']
    assert picture["notify:c1"] == ['x1\n{"ok":true}']
    assert 0 < await world.redis.pttl(world.key("response", "x1")) <= world.engine.response_ttl_ms
    assert 0 < await world.redis.pttl(world.key("notify", "c1")) <= 60_000


async def test_response_for_nobody_in_particular_is_stored_only(world: World) -> None:
    await world.finish(await claimed(world, reply_to="*"), response=b"r")
    picture = await world.snapshot()
    assert picture["resp:x1"] == ["r"]
    assert not [name for name in picture if name.startswith("notify:")]


@pytest.mark.parametrize(("size", "inlined"), [(8192, True), (8193, False)])
async def test_a_large_response_is_announced_by_its_id_alone(world: World, size: int, inlined: bool) -> None:
    await world.finish(await claimed(world, reply_to="c1"), response=b"x" * size)
    picture = await world.snapshot()
    assert picture["notify:c1"] == ["x1\n" + ("x" * size if inlined else "")]
    assert len(picture["resp:x1"][0]) == size


async def test_callback_goes_to_the_domains_callback_lists_only(world: World) -> None:
    queue = world.keys.callback(world.domain, "query", "embedded", "ctx")
    await world.finish(await claimed(world), callback_queue=queue, callback='{"é":1}'.encode())
    assert (await world.snapshot())["callback:query:embedded:ctx"] == ['{"é":1}']
    assert 0 < await world.redis.pttl(queue) <= world.engine.callback_ttl_ms


@pytest.mark.parametrize(
    "queue", ["evil", "nooble:embedding:owned:w1", "nooble:embedding:callbac", "nooble:other:callback:a:b"]
)
async def test_a_callback_elsewhere_is_not_pushed(world: World, queue: str) -> None:
    action = await claimed(world)
    assert await world.finish(action, callback_queue=queue, callback=b"x") == [True]
    assert await world.redis.exists(queue) == 0


async def test_a_stream_goes_when_its_last_action_ends(world: World) -> None:
    await world.enqueue(*some(2))
    one, two = (await world.claim()).actions
    await world.finish(one)
    assert await world.redis.exists(world.stream()) == 1
    await world.finish(two)
    assert await world.redis.exists(world.stream()) == 0


async def test_a_stream_with_parked_or_waiting_entries_stays(world: World) -> None:
    await world.enqueue(*some(3))
    one, two = (await world.claim(slots=2)).actions
    await world.finish(one, outcome=Outcome.RETRY, due_ms=NOW + MINUTE)
    await world.finish(two)
    assert (await world.snapshot())["stream acme:enterprise"] == {
        "entries": ["acme-0", "acme-2"],
        "parked": {"acme-0": 1},
    }


async def test_more_than_one_script_call_takes(world: World) -> None:
    await world.enqueue(*some(MAX_ITEMS + 100))
    actions = [a for _ in range(2) for a in (await world.claim(slots=MAX_ITEMS)).actions]
    assert await world.finish(*actions) == [True] * (MAX_ITEMS + 100)
    assert await world.unfinished() == {}


async def test_finish_and_claim_in_one_round_trip(world: World) -> None:
    await world.enqueue(*some(3))
    action = (await world.claim(slots=1)).actions[0]
    accepted, claim = await world.engine.finish_and_claim(
        world.domain, "w1", [Finish(action, Outcome.COMPLETED), Finish(action, Outcome.COMPLETED)], 5
    )
    assert accepted == [True, False]
    assert [a.action_id for a in claim.actions] == ["acme-1", "acme-2"]


async def test_nothing_to_finish(world: World) -> None:
    assert await world.finish() == []
