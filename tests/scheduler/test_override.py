"""override: a tenant's own rules and its pause, above any policy."""

from __future__ import annotations

from typing import Any

import pytest
from redis.asyncio import Redis

from scheduler import Override, PolicyError, State, overrides, pauses
from scheduler.inspect import state_of
from scheduler.limits import Limit, Strategy
from tests.scheduler.world import MINUTE, NOW, World, changes, ids, new, some


async def override(world: World, tenant: str = "acme", **rules: Any) -> None:
    await overrides.set_override(world.engine, [world.domain], tenant, by="ana", why="asked", **rules)


async def test_is_stored_with_who_when_and_why(world: World) -> None:
    before = await world.snapshot()
    await override(world, weight=2, limits=["5/minute"])
    world.clock.advance(7)
    await overrides.set_override(world.engine, [world.domain], "acme", by="bo", max_concurrency=3)
    after = changes(before, await world.snapshot())
    assert after.pop("overrides") == {
        "acme": '{"weight":2.0,"limits":[["5/minute","moving-window",5,60000,"","m60000"]],'
        '"max_concurrency":3,'
        f'"by":"bo","at_ms":{NOW + 7},"why":""}}'
    }
    assert [entry["did"] for entry in after.pop("operations")] == [
        "override acme weight=2.0 limits=5/minute",
        "override acme max_concurrency=3",
    ]
    assert after == {}
    limits = (Limit("5/minute", Strategy.MOVING_WINDOW, 5, MINUTE),)
    expected = Override(2.0, limits, 3, False, "bo", NOW + 7, "")
    assert await overrides.get_override(world.engine, world.domain, "acme") == expected
    assert await overrides.list_overrides(world.engine, world.domain) == {"acme": expected}


async def test_cleared_rule_by_rule(world: World) -> None:
    where = (world.engine, [world.domain], "acme")
    await override(world, weight=2, limits=[])
    await overrides.clear_override(*where, by="ana", rules=["weight"])
    left = await overrides.get_override(world.engine, world.domain, "acme")
    assert left
    assert (left.weight, left.limits) == (None, ())
    await overrides.clear_override(*where, by="ana")
    assert "overrides" not in await world.snapshot()
    assert await overrides.get_override(world.engine, world.domain, "acme") is None


async def test_weight_changes_the_charge(world: World) -> None:
    await override(world, "heavy", weight=2)
    await world.enqueue(*some(6, "heavy"), *some(6, "light"))
    taken = [action.split("-")[0] for action in await world.claim_ids(slots=6)]
    assert (taken.count("heavy"), taken.count("light")) == (4, 2)


@pytest.mark.parametrize("limits", [["4/minute"], [{"rate": "4/day", "strategy": "calendar"}]])
async def test_limits_replace_those_of_the_tier(world: World, limits: list[Any]) -> None:
    """A calendar quota that no policy has: the caller is asked for its period."""
    await override(world, limits=limits)
    await world.enqueue(*some(9, tier="free"), *some(9, "other", "free"))
    assert sorted(await world.claim_ids(slots=50)) == [f"acme-{n}" for n in range(4)] + [
        f"other-{n}" for n in range(3)
    ]
    rate = limits[0] if isinstance(limits[0], str) else limits[0]["rate"]
    assert (await world.snapshot())["held_why"] == {"acme:free": rate, "other:free": "3/minute"}


async def test_no_limits_at_all(world: World) -> None:
    await override(world, limits=[])
    await world.enqueue(*some(40, tier="free"))
    assert len(await world.claim_ids(slots=50)) == 40


async def test_concurrency(world: World) -> None:
    await override(world, max_concurrency=2)
    await world.enqueue(*some(5, tier="solo"), *some(2, "other", "solo"))
    claim = await world.claim(slots=9)
    assert sorted(ids(claim.actions)) == ["acme-0", "acme-1", "other-0"]
    assert (await world.snapshot())["held_why"]["acme:solo"] == "concurrency 2"


async def test_a_raised_limit_ends_the_hold_and_wakes_a_sleeper(world: World) -> None:
    await world.enqueue(*some(9, tier="free"))
    await world.claim(slots=9)
    assert (await world.snapshot())["held"] == {"acme:free": NOW + MINUTE + 1}
    await world.redis.delete(world.key("mailbox", "w1"))
    await override(world, limits=["5/minute"])
    assert (await world.mailbox("w1"), "held" in await world.snapshot()) == (["wake"], False)
    assert await world.claim_ids(slots=9) == ["acme-3", "acme-4"]  # not five more


async def test_a_lowered_limit_counts_what_started_before(world: World) -> None:
    await override(world, limits=["5/minute"])
    await world.enqueue(*some(9, tier="free"))
    for _ in range(4):
        await world.claim(slots=1)
        world.clock.advance(1_000)
    await override(world, limits=["2/minute"])
    claim = await world.claim()
    assert (claim.actions, claim.next_due_ms) == ([], NOW + 2_000 + MINUTE + 1)


async def test_pause_and_resume(world: World) -> None:
    where = (world.engine, [world.domain], "acme")
    await world.enqueue(*some(3), new("x", "other"))
    [running] = (await world.claim(slots=1)).actions
    await overrides.pause_tenant(*where, by="ana", why="abuse")
    assert await world.claim_ids() == ["x"]
    picture = await world.snapshot()
    assert (picture["held"], picture["held_why"]) == (
        {"acme:enterprise": float("inf")},
        {"acme:enterprise": "paused"},
    )
    assert await state_of(world.engine, world.domain, "acme-1") is State.HELD
    await world.finish(running)
    assert await world.claim_ids() == []
    await override(world, weight=3)
    assert await world.claim_ids() == []
    await world.redis.delete(world.key("mailbox", "w1"))
    await overrides.resume_tenant(*where, by="ana")
    assert await world.mailbox("w1") == ["wake"]
    assert await world.claim_ids() == ["acme-1", "acme-2"]
    said = await pauses.operations(world.engine, world.domain)
    assert [(one.by, one.why, one.did) for one in said] == [
        ("ana", "", "resume tenant:acme"),
        ("ana", "asked", "override acme weight=3.0"),
        ("ana", "abuse", "pause tenant:acme"),
    ]


async def test_resuming_tells_where_a_tenant_was_stopped(world: World) -> None:
    """By an operator or by a handler; what changes nothing is no operation."""
    where = (world.engine, [world.domain, "other"], "acme")
    assert await overrides.resume_tenant(*where, by="ana") == []
    await override(world, weight=3)
    assert await overrides.resume_tenant(*where, by="ana") == []
    await overrides.pause_tenant(world.engine, ["other"], "acme", by="bo")
    assert await overrides.resume_tenant(*where, by="ana") == ["other"]
    await world.redis.zadd(world.key("backpressure"), {"acme:enterprise": world.now + 1_000})
    assert await overrides.resume_tenant(*where, by="ana") == [world.domain]
    assert await overrides.resume_tenant(*where, by="ana") == []
    said = [one.did for one in await pauses.operations(world.engine, world.domain)]
    assert said == ["resume tenant:acme", "override acme weight=3.0"]


async def test_a_pause_and_the_rules_each_tell_of_who_said_them(world: World) -> None:
    where = (world.engine, [world.domain], "acme")
    await overrides.pause_tenant(*where, by="bo", why="fraud")
    world.clock.advance(7)
    await override(world, weight=3)
    both = await overrides.get_override(world.engine, world.domain, "acme")
    assert both == Override(3.0, None, None, True, "ana", NOW + 7, "asked", "bo", NOW, "fraud")
    await overrides.resume_tenant(*where, by="cy", why="cleared up")
    rules = await overrides.get_override(world.engine, world.domain, "acme")
    assert rules == Override(3.0, None, None, False, "ana", NOW + 7, "asked")
    await overrides.pause_tenant(*where, by="bo", why="again")
    await overrides.clear_override(*where, by="ana")
    pause = await overrides.get_override(world.engine, world.domain, "acme")
    assert pause == Override(paused=True, paused_by="bo", paused_at_ms=NOW + 7, paused_why="again")


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        ({}, "no rule given; one of weight, limits, max_concurrency"),
        ({"weight": 0}, "weight: Input should be greater than or equal to 0.001"),
        ({"limits": ["0/minute"]}, "limits.0.rate: '0/minute' would hold every action for ever"),
        ({"limits": ["much"]}, "limits.0.rate: 'much' is not a rate"),
        ({"limits": [{"rate": "1/hour", "strategy": "calendar"}]}, "a calendar quota needs a day"),
        ({"limits": ["3/minute", "5/minute"]}, "the limits '3/minute' and '5/minute' count the same starts"),
        ({"max_concurrency": -1}, "max_concurrency: Input should be greater than or equal to 0"),
        ({"weight": 1, "by": " "}, "`by` is empty"),
    ],
)
async def test_what_cannot_hold_changes_nothing(world: World, rules: dict[str, Any], words: str) -> None:
    before = await world.snapshot()
    with pytest.raises(PolicyError) as error:
        await overrides.set_override(world.engine, [world.domain], "acme", **{"by": "ana", **rules})
    assert words in str(error.value)
    assert await world.snapshot() == before


async def test_clearing_a_rule_that_there_is_not(world: World) -> None:
    with pytest.raises(PolicyError, match="no rule 'limit', did you mean 'limits'"):
        await overrides.clear_override(world.engine, [world.domain], "acme", by="ana", rules=["limit"])


async def test_two_operators_at_once_lose_nothing(redis: Redis, world: World) -> None:
    """Somebody else's change lands between reading and writing: it is kept."""
    other = World(redis)
    real: Any = redis.hget
    once: list[int] = []

    async def hget(*args: Any) -> Any:
        found = await real(*args)
        if not once:
            once.append(1)
            await overrides.set_override(other.engine, [other.domain], "acme", by="bo", max_concurrency=9)
        return found

    redis.hget = hget  # type: ignore[method-assign, assignment]
    await override(world, weight=2)
    redis.hget = real  # type: ignore[method-assign]
    both = await overrides.get_override(world.engine, world.domain, "acme")
    assert both
    assert (both.weight, both.max_concurrency) == (2.0, 9)


async def test_without_a_published_policy(redis: Redis) -> None:
    world = World(redis)
    await override(world, weight=2)
    assert set(await world.snapshot()) == {"overrides", "operations"}
