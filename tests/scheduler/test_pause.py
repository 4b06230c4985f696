"""pause and resume of a domain, a tier, an action type."""

from __future__ import annotations

import pytest

from scheduler import (
    NewAction,
    Outcome,
    PolicyError,
    ScriptError,
    State,
    UnknownTierError,
    overrides,
    pauses,
    scripts,
)
from scheduler.counts import domain_counts
from scheduler.holds import rehold
from scheduler.inspect import state_of
from scheduler.lines import Aside
from tests.scheduler.picture import Picture
from tests.scheduler.world import MINUTE, NOW, TIERS, World, changes, new, some


def of_type(kind: str, *action_ids: str, tenant: str = "acme") -> list[NewAction]:
    return [new(action_id, tenant)._replace(action_type=kind) for action_id in action_ids]


async def pause(world: World, what: str) -> bool:
    return await pauses.pause(world.engine, [world.domain], what, by="ana", why="upgrade")


async def resume(world: World, what: str, most: int = 500) -> bool:
    return await pauses.resume(world.engine, [world.domain], what, by="ana", most=most)


async def test_a_domain(world: World) -> None:
    await world.enqueue(*some(3))
    before = await world.snapshot()
    assert await pause(world, "domain")
    after = changes(before, await world.snapshot())
    assert after == {
        "operations": [{"at": str(NOW), "by": "ana", "why": "upgrade", "did": "pause domain"}],
        "pauses": {"domain": f'{{"by":"ana","at_ms":{NOW},"why":"upgrade"}}'},
    }
    claim = await world.claim()
    assert (claim.actions, claim.more, claim.next_due_ms) == ([], False, 0)
    assert await state_of(world.engine, world.domain, "acme-0") is State.HELD
    await world.redis.delete(world.key("mailbox", "w1"))
    assert await resume(world, "domain")
    assert await world.mailbox("w1") == ["wake"]
    assert len(await world.claim_ids()) == 3


async def test_a_tier(world: World) -> None:
    await world.enqueue(*some(3), *some(2, "other", "professional"))
    await pause(world, "tier:enterprise")
    claim = await world.claim()
    assert [action.tier for action in claim.actions] == ["professional"] * 2
    assert (claim.more, claim.next_due_ms) == (False, 0)
    assert await state_of(world.engine, world.domain, "acme-1") is State.HELD
    await resume(world, "tier:enterprise")
    assert len(await world.claim_ids()) == 3


async def test_what_runs_goes_on(world: World) -> None:
    await world.enqueue(*some(2))
    actions = (await world.claim()).actions
    await pause(world, "domain")
    assert await world.finish(*actions) == [True, True]


async def test_an_action_type_is_set_aside_and_the_rest_of_the_line_goes_on(world: World) -> None:
    await world.enqueue(*of_type("a.slow", "s1", "s2"), new("x1"), *of_type("a.slow", "s3"), new("x2"))
    await pause(world, "type:a.slow")
    before = await world.snapshot()
    claim = await world.claim(slots=1)
    assert ([action.action_id for action in claim.actions], claim.more) == (["x1"], True)
    after = changes(before, await world.snapshot())
    assert after["set_aside:a.slow"] == {"@ acme:enterprise s1": 0, "@ acme:enterprise s2": 0}
    assert after["actions"]["s1"] == "acme:enterprise @ a.slow"
    assert after["waiting"] == {"acme:enterprise": "2"}
    assert after["ready:enterprise"] == {"acme": 1_000_000}  # what is set aside is charged to nobody
    assert after["stream acme:enterprise"]["parked"] == {"s1": 0, "s2": 0}
    assert await state_of(world.engine, world.domain, "s2") is State.HELD
    assert await world.claim_ids() == ["x2"]
    assert "waiting" not in await world.snapshot()


async def test_what_is_set_aside_takes_no_slot(world: World) -> None:
    """Neither of its own tenant nor, where nothing else is left in that line, of the others."""
    await world.enqueue(*of_type("a.slow", "s1", "s2", "s3"), new("x1"), new("x2"), new("x3"))
    await world.enqueue(*of_type("a.slow", "t1", "t2", tenant="bo"), *some(1, "cy"), *some(1, "di"))
    await pause(world, "type:a.slow")
    claim = await world.claim(slots=3)
    assert [action.action_id for action in claim.actions] == ["x1", "cy-0", "di-0"]
    assert claim.more
    assert await world.claim_ids() == ["x2", "x3"]


async def test_a_paused_flood_is_set_aside_in_few_claims_and_starves_nobody(world: World) -> None:
    slow = [
        one for n in range(50) for one in of_type("a.slow", *(f"t{n}-{m}" for m in range(30)), tenant=f"t{n}")
    ]
    await world.enqueue(*slow, *some(3, "zoe"))
    await pause(world, "type:a.slow")
    claims, started = 0, []
    while (claim := await world.claim(slots=1)).actions or claim.more:
        claims += 1
        started += [action.action_id for action in claim.actions]
        Picture(await world.snapshot()).check_laws()
    assert started == ["zoe-0", "zoe-1", "zoe-2"]
    assert claims <= 50 * 30 / Aside.AT_ONCE + len(started)


async def test_one_tenants_paused_flood_keeps_nobody_waiting(world: World) -> None:
    flood = of_type("a.slow", *(f"s{n}" for n in range(200)))
    await world.enqueue(*flood)
    await world.enqueue(*some(4, "zoe"))
    await pause(world, "type:a.slow")
    assert [(await world.claim_ids(slots=1)) for _ in range(4)] == [[f"zoe-{n}"] for n in range(4)]
    counts = await domain_counts(world.engine, world.domain)
    assert counts.set_aside == 4 * Aside.OF_ONE


async def test_whose_calendar_is_unknown_waits_for_the_next_claim(world: World) -> None:
    """Met only in place of what was set aside, when it is too late to ask for the period of its quota."""
    await world.enqueue(*of_type("a.slow", "s1"), *some(2, "zoe"))
    await overrides.set_override(world.engine, [world.domain], "zoe", by="ana", limits=["1/month"])
    await pause(world, "type:a.slow")
    claim = await world.claim(slots=1)
    assert (claim.actions, claim.more) == ([], True)
    assert "held" not in await world.snapshot()
    assert await world.claim_ids(slots=1) == ["zoe-0"]


async def test_resuming_gives_back_in_order_and_before_what_came_later(world: World) -> None:
    slow = [f"s{n}" for n in range(5)]
    await world.enqueue(*of_type("a.slow", *slow), new("x1"))
    await pause(world, "type:a.slow")
    while (claim := await world.claim()).more or claim.actions:
        pass
    await world.enqueue(*of_type("a.slow", "s5", "s6"))
    await world.claim()
    await world.redis.delete(world.key("mailbox", "w1"))
    assert await resume(world, "type:a.slow", most=2)
    picture = await world.snapshot()
    assert picture.keys().isdisjoint({"pauses", "set_aside:a.slow"})
    assert (await world.mailbox("w1"))[0] == "wake"
    claim = await world.claim()
    assert [(a.action_id, a.attempt) for a in claim.actions] == [(f"s{n}", 1) for n in range(7)]


async def test_a_resume_that_broke_off_is_carried_on_by_claims_in_order(world: World) -> None:
    slow = [f"s{n:03}" for n in range(250)]
    await world.enqueue(*of_type("a.slow", *slow))
    await pause(world, "type:a.slow")
    await world.claim(slots=230)
    await resume_once(world, 10)
    Picture(await world.snapshot()).check_laws()
    taken: list[str] = []
    while (claim := await world.claim(slots=50)).actions or claim.more:
        taken += [action.action_id for action in claim.actions]
        Picture(await world.snapshot()).check_laws()
    assert taken == slow
    assert "pauses" not in await world.snapshot()


async def resume_once(world: World, most: int) -> None:
    """One script call, after which the operator's process died."""
    args = [world.now, "type:a.slow", "", most, "ana", ""]
    reply = await scripts.run(world.redis, scripts.load("resume"), world.keys.root(world.domain), args)
    assert reply == [1, most, 1]


async def test_paused_again_while_it_is_resumed(world: World) -> None:
    await world.enqueue(*of_type("a.slow", "s1", "s2", "s3"))
    await pause(world, "type:a.slow")
    await world.claim()
    await resume_once(world, 1)
    assert await pause(world, "type:a.slow")
    assert await world.claim_ids() == []
    await resume(world, "type:a.slow")
    assert await world.claim_ids() == ["s1", "s2", "s3"]


async def test_what_is_set_aside_is_counted(world: World) -> None:
    await world.enqueue(*of_type("a.slow", "s1", "s2"), new("x1"))
    await pause(world, "type:a.slow")
    await world.claim()
    counts = await domain_counts(world.engine, world.domain)
    assert (counts.set_aside, sum(tier.ready + tier.held for tier in counts.tiers)) == (2, 0)


async def test_cancelling_what_is_set_aside(world: World) -> None:
    await world.enqueue(*of_type("a.slow", "s1", "s2"))
    await pause(world, "type:a.slow")
    await world.claim()
    assert await world.cancel("s1", "s2") == ["cancelled", "cancelled"]
    await resume(world, "type:a.slow")
    assert set(await world.unfinished()) == {"mailbox:w1"}


async def test_a_retry_of_a_paused_type_keeps_its_attempts(world: World) -> None:
    await world.enqueue(*of_type("a.slow", "s1"))
    await world.finish(*(await world.claim()).actions, outcome=Outcome.RETRY, due_ms=NOW + 5)
    await pause(world, "type:a.slow")
    world.clock.advance(5)
    assert await world.claim_ids() == []
    await resume(world, "type:a.slow")
    assert [(a.action_id, a.attempt) for a in (await world.claim()).actions] == [("s1", 2)]


async def test_one_past_its_deadline_is_answered_all_the_same(world: World) -> None:
    [late] = of_type("a.slow", "s1")
    await world.enqueue(late._replace(deadline_ms=NOW + 1))
    await pause(world, "type:a.slow")
    world.clock.advance(MINUTE)
    await world.worker("w1")
    assert [action.expired for action in (await world.claim()).actions] == [True]


async def test_a_stream_stays_while_something_of_it_is_set_aside(world: World) -> None:
    await world.enqueue(*of_type("a.slow", "s1"), new("x1"))
    await pause(world, "type:a.slow")
    await world.finish(*(await world.claim()).actions)
    assert (await world.snapshot())["stream acme:enterprise"]["entries"] == ["s1"]


async def test_said_twice(world: World) -> None:
    assert await pause(world, "domain")
    assert not await pauses.pause(world.engine, [world.domain], "domain", by="bo")
    [one] = await pauses.list_pauses(world.engine, world.domain)
    assert one == ("domain", "ana", NOW, "upgrade")
    assert await resume(world, "domain")
    assert not await resume(world, "domain")
    assert [each.did for each in await pauses.operations(world.engine, world.domain)] == [
        "resume domain",
        "pause domain",
    ]


async def test_what_there_is_not(world: World) -> None:
    before = await world.snapshot()
    with pytest.raises(UnknownTierError, match="unknown tier 'enterprize', did you mean 'enterprise'"):
        await pause(world, "tier:enterprize")
    with pytest.raises(ValueError, match="'tenant:x' is none of"):
        await pause(world, "tenant:x")
    with pytest.raises(PolicyError, match="`by` is empty"):
        await pauses.resume(world.engine, [world.domain], "domain", by="")
    assert await world.snapshot() == before


async def test_only_so_much_can_be_paused(world: World) -> None:
    """Every claim reads all of it."""
    for n in range(200):
        await pause(world, f"type:a.b{n}")
    with pytest.raises(ScriptError, match="200 action types are paused in embedding"):
        await pause(world, "type:a.more")
    assert await pause(world, "domain")
    assert not await pause(world, "type:a.b7")


async def test_rehold_ends_the_holds_of_a_limit(world: World) -> None:
    await world.enqueue(*some(9, "a", "free"), *some(9, "b", "free"), *some(9, "c", "solo"))
    await world.claim(slots=30)
    assert len((await world.snapshot())["held"]) == 3
    assert await rehold(world.redis, world.keys.root(world.domain), ["3/minute"], most=1) == 2
    picture = await world.snapshot()
    assert (picture["held_why"], set(picture["ready:free"])) == ({"c:solo": "concurrency 1"}, {"a", "b"})
    assert await world.claim_ids() == []
    assert await rehold(world.redis, world.keys.root(world.domain)) == 3
    assert (await world.mailbox("w1"))[-1] == "wake"


async def test_a_policy_that_raises_a_limit_starts_whom_it_held(world: World) -> None:
    await world.enqueue(*some(9, "a", "free"), *some(9, "b", "free"))
    await world.claim(slots=30)
    await world.redis.delete(world.key("mailbox", "w1"))
    raised = World(world.redis, TIERS.replace("3/minute", "4/minute"))
    await raised.engine.publish_policy(world.domain)
    assert "wake" in await world.mailbox("w1")
    assert sorted(await world.claim_ids()) == ["a-3", "b-3"]
