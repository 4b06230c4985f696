"""enqueue: seed, one call, everything that changed."""

from __future__ import annotations

import pytest
from redis.asyncio import Redis

from scheduler import Outcome, ScriptError
from scheduler.batches import MAX_CALL_BYTES, MAX_ITEMS
from tests.scheduler.world import DAY, MINUTE, NOW, World, changes, new, some


async def test_accepted(world: World) -> None:
    before = await world.snapshot()
    [said] = await world.enqueue(new("x1", deadline_ms=NOW + 5, reply_to="c1"))
    assert said == ("x1", True, "", "enterprise", None)
    assert changes(before, await world.snapshot()) == {
        "actions": {"x1": "acme:enterprise @"},
        "counters": {"enterprise:enqueued": "1"},
        "ready:enterprise": {"acme": 0},
        "stream acme:enterprise": {"entries": ["x1"]},
        "waiting": {"acme:enterprise": "1"},
    }
    [(_, fields)] = await world.redis.xrange(world.stream())
    assert fields == {
        b"head": f"v1 x1 {NOW + 5} embedding.generate {NOW} c1 -".encode(),
        b"data": b'{"id":"x1"}',
    }


@pytest.mark.parametrize("deadline_ms", [0, NOW + MINUTE])
@pytest.mark.parametrize(
    "first", ["nobody waits", "somebody waits", "a sleeper", "no stream", "a tag", "a foreign key"]
)
async def test_alone_or_in_company_the_same_is_written(redis: Redis, first: str, deadline_ms: int) -> None:
    """One alone goes a shorter way through the script."""
    written = []
    action = new("x2", deadline_ms=deadline_ms)
    for actions in ((action,), (action, action)):
        await redis.flushall()
        world = World(redis)
        await world.worker("w1")
        if first != "no stream":
            await world.enqueue(new("x1"))
        if first == "a tag":  # what it has used already counts on
            await redis.zadd(world.key("tags", "enterprise"), {"acme": 7, "other": 9})
            await world.redis.hset(world.key("fairness"), "vt:enterprise", 5)
            await redis.delete(world.key("waiting"), world.key("ready", "enterprise"))
        elif first == "nobody waits":
            await world.claim_ids(slots=1)
        elif first == "a sleeper":
            await world.claim_ids(slots=5)
        if first == "a foreign key":
            await redis.set(world.stream(), "mine")
            with pytest.raises(ScriptError, match="DEL or RENAME"):
                await world.enqueue(*actions)
        else:
            assert (await world.enqueue(*actions))[0] == ("x2", True, "", "enterprise", None)
        written.append((await world.snapshot(), await world.mailbox("w1")))
    assert written[0] == written[1]


@pytest.mark.parametrize("payload", [b"", b"\x00\xff\r\n", b'{"a":[],"n":12345678901234567890}'])
async def test_payload_is_opaque(world: World, payload: bytes) -> None:
    await world.enqueue(new("x1")._replace(payload=payload))
    [claimed] = (await world.claim()).actions
    assert claimed.payload == payload


async def test_nothing_to_enqueue(world: World) -> None:
    before = await world.snapshot()
    assert await world.enqueue() == []
    assert await world.snapshot() == before


@pytest.mark.parametrize("place", ["ready", "scheduled", "running", "returned"])
async def test_duplicate_of_an_alive_action(world: World, place: str) -> None:
    await world.enqueue(new("x1", due_ms=NOW + MINUTE if place == "scheduled" else 0))
    if place in ("running", "returned"):
        claimed = (await world.claim()).actions
        if place == "returned":
            await world.engine.release(world.domain, "w1", claimed)
    before = await world.snapshot()
    assert await world.enqueue(new("x1", tenant="other")) == [("x1", False, "x1", "enterprise", None)]
    assert await world.snapshot() == before


async def test_duplicate_of_a_finished_action_within_the_window(world: World) -> None:
    await world.enqueue(new("x1"), new("x2"))
    await world.finish(*(await world.claim(slots=1)).actions)
    assert await world.enqueue(new("x1")) == [("x1", False, "x1", "enterprise", None)]
    world.clock.advance(world.engine.duplicate_window_ms)
    assert await world.enqueue(new("x1")) == [("x1", False, "x1", "enterprise", None)]
    world.clock.advance(world.engine.duplicate_window_ms)
    assert await world.enqueue(new("x1")) == [("x1", True, "", "enterprise", None)]


async def test_same_id_twice_in_a_call(world: World) -> None:
    said = await world.enqueue(new("x1"), new("x1"), new("x2"))
    assert [each.accepted for each in said] == [True, False, True]
    assert (await world.snapshot())["waiting"] == {"acme:enterprise": "2"}


async def test_unique_key_has_one_alive_holder(world: World) -> None:
    said = await world.enqueue(
        new("x1", unique_key="u"), new("x2", unique_key="u"), new("x3", unique_key="v")
    )
    assert said == [
        ("x1", True, "", "enterprise", None),
        ("x2", False, "x1", "enterprise", None),
        ("x3", True, "", "enterprise", None),
    ]
    assert (await world.snapshot())["unique_holders"] == {"u": "x1", "v": "x3"}
    assert await world.enqueue(new("x4", unique_key="u")) == [("x4", False, "x1", "enterprise", None)]
    await world.finish(*(await world.claim()).actions, outcome=Outcome.DEAD)
    assert await world.enqueue(new("x5", unique_key="u")) == [("x5", True, "", "enterprise", None)]


async def test_unique_key_of_an_action_that_was_lost_from_outside_blocks_nobody(world: World) -> None:
    await world.enqueue(new("x1", unique_key="u"))
    await world.redis.hdel(world.key("actions"), "x1")
    assert await world.enqueue(new("x2", unique_key="u")) == [("x2", True, "", "enterprise", None)]


async def test_delayed(world: World) -> None:
    await world.enqueue(new("x0"))
    before = await world.snapshot()
    await world.enqueue(new("x1", due_ms=NOW + 500))
    after = changes(before, await world.snapshot())
    packed = after.pop("delayed")
    assert set(packed) == {"x1"}
    assert f"v1 x1 0 embedding.generate {NOW + 500} - -" in packed["x1"]
    assert after == {
        "actions": {"x0": "acme:enterprise @", "x1": "acme:enterprise -"},
        "counters": {"enterprise:enqueued": "2"},
        "delayed_count": {"acme:enterprise": "1"},
        "scheduled": {"x1": NOW + 500},
    }


async def test_due_in_the_past_is_due_now(world: World) -> None:
    await world.enqueue(new("x1", due_ms=NOW - DAY))
    [claimed] = (await world.claim()).actions
    assert claimed.enqueued_ms == NOW


async def test_more_than_one_script_call_takes(world: World) -> None:
    actions = some(2 * MAX_ITEMS + 1)
    assert all(said.accepted for said in await world.enqueue(*actions))
    assert (await world.snapshot())["waiting"] == {"acme:enterprise": str(2 * MAX_ITEMS + 1)}
    assert await world.claim_ids(slots=500) == [action.action_id for action in actions[:500]]


@pytest.mark.parametrize("before", [0, 7, 200])
async def test_many_tenants_in_a_call_are_counted_each(world: World, before: int) -> None:
    """Where few others wait, all counts are read at once."""
    for n in range(before):
        await world.enqueue(new(f"old-{n}", f"tenant{n}"))
    await world.enqueue(*[new(f"new-{n}", f"tenant{n % 20}") for n in range(50)])
    counts = {
        f"tenant{n}:enterprise": str((n < before) + (n < 20) * 2 + (n < 10)) for n in range(max(before, 20))
    }
    picture = await world.snapshot()
    assert picture["waiting"] == counts
    assert picture["ready:enterprise"] == {name.split(":")[0]: 0 for name in counts}


async def test_many_are_sent_in_short_calls(world: World) -> None:
    before = (await world.redis.info("commandstats")).get("cmdstat_evalsha", {"calls": 0})["calls"]
    assert all(said.accepted for said in await world.enqueue(*some(1_250)))
    calls = (await world.redis.info("commandstats"))["cmdstat_evalsha"]["calls"] - before
    assert calls == 13
    assert await world.claim_ids(slots=500) == [f"acme-{n}" for n in range(500)]


async def test_large_payloads_are_sent_in_bounded_calls(world: World) -> None:
    payload = b"x" * (MAX_CALL_BYTES // 2 - 1)
    before = (await world.redis.info("commandstats")).get("cmdstat_evalsha", {"calls": 0})["calls"]
    await world.enqueue(*[new(f"x{n}")._replace(payload=payload) for n in range(5)])
    calls = (await world.redis.info("commandstats"))["cmdstat_evalsha"]["calls"] - before
    assert calls == 3
    assert (await world.snapshot())["waiting"] == {"acme:enterprise": "5"}


async def test_wakes_exactly_one_sleeper_the_last_one_to_sleep(world: World) -> None:
    await world.worker("w2", "w3")
    for worker in ("w1", "w2", "w3"):
        world.clock.advance(1)
        await world.claim(worker)
    before = await world.snapshot()
    assert before["sleepers"] == {"w1": NOW + 1, "w2": NOW + 2, "w3": NOW + 3}
    await world.enqueue(*some(5))
    after = await world.snapshot()
    assert after["sleepers"] == {"w1": NOW + 1, "w2": NOW + 2}
    assert [await world.mailbox(worker) for worker in ("w1", "w2", "w3")] == [[], [], ["wake"]]


async def test_a_delayed_action_wakes_a_sleeper_too(world: World) -> None:
    await world.claim()
    await world.enqueue(new("x1", due_ms=NOW + 100))
    assert await world.mailbox("w1") == ["wake"]
    assert (await world.claim()).next_due_ms == NOW + 100


async def test_a_duplicate_wakes_nobody(world: World) -> None:
    await world.enqueue(new("x1"))
    await world.claim()
    await world.enqueue(new("x1"))
    assert await world.mailbox("w1") == []


async def test_a_foreign_key_under_the_streams_name(world: World) -> None:
    await world.redis.set(world.stream("bad"), "mine")
    with pytest.raises(ScriptError, match=r"enqueue: action x2 .* tenant 'bad'.* DEL or RENAME"):
        await world.enqueue(new("x1"), new("x2", tenant="bad", unique_key="u"), new("x3"))
    picture = await world.snapshot()
    assert picture["waiting"] == {"acme:enterprise": "2"}
    assert set(picture["actions"]) == {"x1", "x3"}
    assert "unique_holders" not in picture
    assert await world.claim_ids() == ["x1", "x3"]
    await world.redis.delete(world.stream("bad"))
    assert await world.enqueue(new("x2", tenant="bad")) == [("x2", True, "", "enterprise", None)]


async def test_on_a_cluster_the_domain_is_a_hash_tag(redis: Redis) -> None:
    world = World(redis, cluster=True)
    await world.worker("w1")
    await world.enqueue(new("x1"))
    assert await redis.exists("{embedding}:acme:enterprise", "nooble:{embedding}:waiting") == 2
    assert await world.claim_ids() == ["x1"]
