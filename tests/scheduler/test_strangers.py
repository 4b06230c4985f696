"""Somebody else writes to, or deletes, what is ours: one tenant may suffer, the others do not notice."""

from __future__ import annotations

import json

import pytest

from scheduler import Outcome
from tests.scheduler.world import MINUTE, NOW, World, ids, new, some

FOREIGN: list[dict[str, str]] = [
    {"foo": "bar"},
    {"data": "{}"},
    {"head": "v1 x", "data": "{}"},
    {"head": "v9 x 0 a.b 1 - -", "data": "{}"},
    {"head": "v1 x 0 a.b 1 - -", "data": "{}", "more": "1"},
    {"data": "{}", "head": "v1 x 0 a.b 1 - -"},
    {"\xff": "\x00"},
]


@pytest.mark.parametrize("fields", FOREIGN)
async def test_a_malformed_entry_is_a_dead_letter(world: World, fields: dict[str, str]) -> None:
    await world.enqueue(new("x1"))
    await world.redis.xadd(world.stream(), fields)
    await world.enqueue(new("x2"))
    taken = [await world.claim_ids(slots=1) for _ in range(4)]
    assert taken in ([["x1"], [], ["x2"], []], [["x1"], ["x2"], [], []])
    picture = await world.snapshot()
    [letter] = picture["dead:acme"]
    assert letter["reason"] == "malformed entry: not written by enqueue"
    assert json.loads(letter["data"]) == [part for pair in fields.items() for part in pair]
    assert picture["dead_tenants"] == {"acme": NOW}
    assert picture["counters"]["enterprise:dead"] == "1"
    assert picture["stream acme:enterprise"] == {"entries": ["x1", "x2"], "running": {"x1": 1, "x2": 1}}


@pytest.mark.parametrize("place", range(6))
async def test_a_header_that_is_no_text_spoils_nobody_elses_claim(world: World, place: int) -> None:
    """It looks like one of ours, but no worker could read the reply that it is in."""
    words = [b"stranger", b"0", b"a.b", b"1", b"-", b"-"]
    words[place] = b"\xff\xfe"
    await world.redis.xadd(world.stream(), {b"head": b" ".join([b"v1", *words]), b"data": b"{}"})
    await world.redis.xgroup_create(world.stream(), "workers", "0")
    await world.enqueue(new("x1"), new("x2"))
    taken = await world.claim_ids(slots=5) + await world.claim_ids(slots=5)
    assert taken == ["x1", "x2"]
    assert len((await world.snapshot())["dead:acme"]) == 1


@pytest.mark.parametrize("alone", [True, False])
@pytest.mark.parametrize(("place", "digits"), [(1, 5_000), (1, 400), (3, 5_000)])
async def test_a_header_with_a_number_that_no_worker_can_read_spoils_nobody_elses_claim(
    world: World, place: int, digits: int, alone: bool
) -> None:
    words = ["stranger", "0", "a.b", "1", "-", "-"]
    words[place] = "9" * digits
    await world.enqueue(new("x1"))
    if alone:  # it stands for the only one that is counted
        await world.redis.xtrim(world.stream(), maxlen=0)
    await world.redis.xadd(world.stream(), {"head": " ".join(["v1", *words]), "data": "{}"})
    taken = await world.claim_ids(slots=5) + await world.claim_ids(slots=5)
    assert taken == ([] if alone else ["x1"])
    assert len((await world.snapshot())["dead:acme"]) == 1


async def test_a_claim_that_met_a_stranger_says_that_there_is_more(world: World) -> None:
    """No slot may wait beside a startable action because a stranger's entry filled the plan."""
    await world.redis.xadd(world.stream(), {"foo": "bar"})
    await world.redis.xgroup_create(world.stream(), "workers", "0")
    await world.enqueue(new("x1"))
    claim = await world.claim(slots=5)
    assert (ids(claim.actions), claim.more) == ([], True)
    assert await world.claim_ids(slots=5) == ["x1"]


async def test_a_stream_made_again_without_its_group(world: World) -> None:
    await world.enqueue(*some(2), new("other", tenant="b"))
    await world.redis.delete(world.stream())
    await world.redis.xadd(world.stream(), {"foo": "bar"})
    assert "other" in await world.claim_ids()
    assert await world.claim_ids() == []
    picture = await world.snapshot()
    assert "waiting" not in picture
    assert "stream acme:enterprise" not in picture
    assert len(picture["dead:acme"]) == 1


async def test_deleted_entries(world: World) -> None:
    await world.enqueue(*some(3))
    [first, *_] = await world.redis.xrange(world.stream())
    await world.redis.xdel(world.stream(), first[0])
    assert await world.claim_ids() == ["acme-1", "acme-2"]
    picture = await world.snapshot()
    assert "waiting" not in picture
    assert "ready:enterprise" not in picture


async def test_a_deleted_entry_in_the_middle_of_small_claims(world: World) -> None:
    await world.enqueue(*some(4))
    second = (await world.redis.xrange(world.stream()))[1]
    await world.redis.xdel(world.stream(), second[0])
    taken = [await world.claim_ids(slots=1) for _ in range(5)]
    assert taken == [["acme-0"], ["acme-2"], ["acme-3"], [], []]
    assert "waiting" not in await world.snapshot()


async def test_a_deleted_stream(world: World) -> None:
    await world.enqueue(*some(3), new("other", tenant="b"))
    await world.redis.delete(world.stream())
    assert await world.claim_ids() == ["other"]
    assert "waiting" not in await world.snapshot()
    await world.enqueue(new("again"))
    assert await world.claim_ids() == ["again"]


async def test_a_deleted_stream_with_returned_entries(world: World) -> None:
    await world.enqueue(*some(3), new("other", tenant="b"))
    await world.engine.release(world.domain, "w1", (await world.claim()).actions)
    await world.redis.delete(world.stream())
    taken = await world.claim_ids()
    taken += await world.claim_ids()
    assert taken == ["other"]
    picture = await world.snapshot()
    assert picture.keys().isdisjoint(
        {"waiting", "returned_count", "returned:acme:enterprise", "ready:enterprise"}
    )


async def test_a_deleted_returned_entry(world: World) -> None:
    await world.enqueue(*some(3))
    await world.engine.release(world.domain, "w1", (await world.claim()).actions)
    [first, *_] = await world.redis.xrange(world.stream())
    await world.redis.xdel(world.stream(), first[0])
    assert await world.claim_ids(slots=3) == ["acme-1", "acme-2"]
    picture = await world.snapshot()
    assert picture.keys().isdisjoint({"waiting", "returned_count", "ready:enterprise"})
    assert picture["stream acme:enterprise"]["running"] == {"acme-1": 1, "acme-2": 1}


@pytest.mark.parametrize("returned", [False, True])
async def test_another_type_under_a_streams_name(world: World, returned: bool) -> None:
    await world.enqueue(*some(2), new("other", tenant="b"))
    if returned:
        await world.engine.release(world.domain, "w1", (await world.claim()).actions)
    await world.redis.set(world.stream(), "mine")
    assert await world.claim_ids() == ["other"]
    await world.claim()
    assert "waiting" not in await world.snapshot()
    assert await world.redis.get(world.stream()) == b"mine"


@pytest.mark.parametrize("way", ["promote", "claim", "cancel"])
async def test_a_delayed_action_whose_payload_is_gone(world: World, way: str) -> None:
    """It cannot run; the others of the same step can."""
    later = [new(f"x{n}", due_ms=NOW + n) for n in range(1, 4)]
    await world.enqueue(*later)
    await world.redis.hdel(world.key("delayed"), "x2")
    if way == "cancel":
        assert await world.cancel("x1", "x2", "x3") == ["cancelled"] * 3
    else:
        world.clock.advance(10)
        if way == "promote":
            assert (await world.engine.promote(world.domain)).moved == 3
        claim = await world.claim()
        assert ids(claim.actions) == ["x1", "x3"]
        [letter] = (await world.snapshot())["dead:acme"]
        assert letter["reason"] == "the payload of action x2 was deleted by somebody else"
        await world.finish(*claim.actions)
    assert await world.unfinished() == {}


async def test_another_type_where_a_delayed_action_should_go(world: World) -> None:
    await world.enqueue(new("x1", due_ms=NOW + 5), new("other", tenant="b", due_ms=NOW + 5))
    await world.redis.set(world.stream(), "mine")
    world.clock.advance(5)
    assert await world.claim_ids() == ["other"]
    picture = await world.snapshot()
    assert picture["dead:acme"][0]["reason"] == "the key embedding:acme:enterprise is not a stream"
    assert picture["dead:acme"][0]["data"] == '{"id":"x1"}'
    assert picture.keys().isdisjoint({"scheduled", "delayed"})
    assert set(picture["actions"]) == {"other"}


@pytest.mark.parametrize("replacement", [None, "mine"])
async def test_finish_of_an_action_whose_stream_is_gone(world: World, replacement: str | None) -> None:
    await world.enqueue(new("x1", reply_to="*"), new("other", tenant="b", reply_to="*"))
    claim = await world.claim()
    await world.redis.delete(world.stream())
    if replacement:
        await world.redis.set(world.stream(), replacement)
    assert await world.finish(*claim.actions, response=b"r") == [True, True]
    picture = await world.snapshot()
    assert (picture["resp:x1"], picture["resp:other"]) == (["r"], ["r"])
    assert picture.keys().isdisjoint({"owned:w1", "actions"})


@pytest.mark.parametrize("way", ["retry", "dead", "release", "reclaim"])
async def test_an_owned_action_whose_stream_is_gone(world: World, way: str) -> None:
    """It cannot run again: it is a dead letter, and the others go their way."""
    await world.enqueue(new("x1"), new("other", tenant="b"))
    claim = await world.claim()
    await world.redis.delete(world.stream())
    if way == "release":
        assert await world.engine.release(world.domain, "w1", claim.actions) == 2
    elif way == "reclaim":
        world.clock.advance(MINUTE)
        assert await world.engine.reclaim(world.domain) == (1, 2)
        await world.worker("w1")
    else:
        assert await world.finish(*claim.actions, outcome=Outcome(way), due_ms=NOW) == [True, True]
    picture = await world.snapshot()
    assert len(picture["dead:acme"]) == 1
    assert way == "dead" or "x1" in picture["dead:acme"][0]["reason"]
    assert "x1" not in picture.get("actions", {})
    assert await world.claim_ids() == ([] if way == "dead" else ["other"])


async def test_an_entry_that_looks_like_ours_does_not_stand_for_one_of_ours(world: World) -> None:
    """It is counted when it is read, though nobody did before; the tenant's last action starts even so."""
    await world.enqueue(*some(3))
    stranger = {"head": "v1 stranger 0 embedding.generate 1 - -", "data": "{}"}
    await world.redis.xadd(world.stream(), stranger)
    await world.enqueue(new("last"))
    claims = [await world.claim_ids(slots=2) for _ in range(4)]
    assert claims == [["acme-0", "acme-1"], ["acme-2", "stranger"], ["last"], []]
    assert "waiting" not in await world.snapshot()


async def first_a_stranger(world: World) -> None:
    """What looks like an action, in front of the tenant's own line."""
    stranger = {"head": "v1 stranger 0 embedding.generate 1 - -", "data": "{}"}
    await world.redis.xadd(world.stream(), stranger)
    await world.redis.xgroup_create(world.stream(), "workers", "0")


async def test_entries_given_back_are_found_when_a_stranger_made_the_count_too_small(world: World) -> None:
    await first_a_stranger(world)
    await world.enqueue(*some(3))
    claim = await world.claim(slots=2)
    assert ids(claim.actions) == ["stranger", "acme-0"]
    await world.engine.release(world.domain, "w1", claim.actions)
    await world.cancel("acme-1", "acme-2")
    assert [await world.claim_ids(slots=1) for _ in range(3)] == [["stranger"], ["acme-0"], []]
    assert "waiting" not in await world.snapshot()


async def test_a_line_that_cancelling_seems_to_empty_goes_on(world: World) -> None:
    """A stranger's entry was counted as one of the tenant's."""
    await first_a_stranger(world)
    await world.enqueue(*some(2))
    assert await world.claim_ids(slots=1) == ["stranger"]
    await world.cancel("acme-0")
    assert await world.claim_ids(slots=1) == ["acme-1"]
    assert "waiting" not in await world.snapshot()


async def test_a_line_that_nothing_is_counted_of_any_more_comes_back(world: World) -> None:
    """Somebody else deleted the counts; a cancellation finds that more is there."""
    await world.enqueue(*some(3))
    await world.redis.delete(world.key("waiting"), world.key("ready", "enterprise"))
    assert await world.claim_ids() == []
    await world.cancel("acme-0")
    assert await world.claim_ids() == ["acme-1", "acme-2"]


@pytest.mark.parametrize("tier", ["enterprise", "solo"])
async def test_one_that_runs_and_that_no_worker_owns_is_cancelled(world: World, tier: str) -> None:
    """Somebody else deleted the record. It waits in no line, and the slot that it took is free again."""
    await world.worker("w2")
    await world.enqueue(*some(3, tier=tier))
    assert (await world.claim_ids(slots=1)) == ["acme-0"]
    await world.redis.delete(world.key("owned", "w1"))
    assert await world.claim_ids("w2", slots=1) == ([] if tier == "solo" else ["acme-1"])
    waiting = (await world.snapshot())["waiting"]
    assert await world.cancel("acme-0") == ["cancelled"]
    assert (await world.snapshot())["waiting"] == waiting
    if tier == "solo":
        assert await world.mailbox("w2") == ["wake"]
        assert await world.claim_ids("w2", slots=1) == ["acme-1"]
    await world.redis.delete(world.key("mailbox", "w2"))
    assert len(await world.claim_ids("w2")) == (0 if tier == "solo" else 1)
