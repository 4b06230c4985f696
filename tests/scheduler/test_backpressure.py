"""finish with `pressed`: a handler says not now for its tenant, tier, domain, or a named limit."""

from __future__ import annotations

from typing import Any

import pytest
from redis.asyncio import Redis

from scheduler import Claimed, Outcome, UnknownLimitError, overrides, pauses
from scheduler.inspect import BackpressureEvent, recent_events
from scheduler.model import Scope
from tests.scheduler.test_named_limits import POLICY, asks
from tests.scheduler.world import NOW, World, changes, ids, some

UNTIL = NOW + 5_000
WIDER = ["tier", "domain", "openai"]


@pytest.fixture
async def world(redis: Redis) -> World:
    world = World(redis, POLICY.replace("3/minute", "9/minute").replace("1/minute", "9/minute"))
    await world.worker("w1")
    await world.engine.publish_policy(world.domain)
    return world


async def press(world: World, action: Claimed, pressed: str, until_ms: int = UNTIL, **more: Any) -> None:
    rules = {"outcome": Outcome.SNOOZED, "pressed": pressed, "pressed_until_ms": until_ms, **more}
    assert await world.finish(action, **rules) == [True]


async def test_a_tenant_is_held_and_the_action_is_next_in_its_line(world: World) -> None:
    await world.enqueue(*some(3, tier="gold"), *some(2, "other", "gold"))
    [first] = (await world.claim(slots=1)).actions
    before = await world.snapshot()
    await press(world, first, "tenant")
    after = changes(before, await world.snapshot())
    assert after["backpressure"] == {"acme:gold": UNTIL}
    assert after["returned_count"] == {"acme:gold": "1"}
    claim = await world.claim()
    assert (sorted(ids(claim.actions)), claim.next_due_ms) == (["other-0", "other-1"], UNTIL)
    assert (await world.snapshot())["held_why"] == {"acme:gold": "backpressure"}
    world.clock.set(UNTIL - 1)
    assert await world.claim_ids() == []
    world.clock.set(UNTIL)
    claim = await world.claim()
    assert [(a.action_id, a.attempt) for a in claim.actions] == [("acme-0", 1), ("acme-1", 1), ("acme-2", 1)]
    assert "backpressure" not in await world.snapshot()


@pytest.mark.parametrize("pressed", WIDER)
async def test_wider_scopes(world: World, pressed: str) -> None:
    """A tier, a domain, a named limit: the others go on, and a sleeper knows when it ends."""
    await world.enqueue(*asks(2, "a"), *asks(1, "b"), *some(1, "c", "free"))
    [first] = (await world.claim(slots=1)).actions
    await press(world, first, pressed)
    claim = await world.claim()
    assert ids(claim.actions) == ([] if pressed == "domain" else ["c-0"])
    assert (claim.more, claim.next_due_ms) == (False, UNTIL)
    world.clock.set(UNTIL)
    assert len(await world.claim_ids()) == (4 if pressed == "domain" else 3)


@pytest.mark.parametrize(
    ("pressed", "told"),
    [
        ("tier", BackpressureEvent(NOW, Scope.TIER, "gold", UNTIL)),
        ("domain", BackpressureEvent(NOW, Scope.DOMAIN, "", UNTIL)),
        ("openai", BackpressureEvent(NOW, Scope.LIMIT, "openai", UNTIL)),
        ("tenant", None),  # the claim that meets the tenant tells that it is held
    ],
)
async def test_what_stops_more_than_a_tenant_is_told_once(
    world: World, pressed: str, told: BackpressureEvent | None
) -> None:
    await world.enqueue(*asks(3))
    first, second, third = (await world.claim()).actions
    await press(world, first, pressed)
    await press(world, second, pressed)
    await press(world, third, pressed, UNTIL - 1)
    events, _ = await recent_events(world.engine, world.domain)
    assert [event for event in events if isinstance(event, BackpressureEvent)] == ([told] if told else [])


async def test_the_longest_word_stands(world: World) -> None:
    await world.enqueue(*some(3, tier="gold"))
    one, two, three = (await world.claim()).actions
    await press(world, one, "tenant", UNTIL)
    await press(world, two, "tenant", UNTIL - 1_000)
    assert (await world.snapshot())["backpressure"] == {"acme:gold": UNTIL}
    await press(world, three, "tenant", UNTIL + 1, outcome=Outcome.EXPIRED)
    assert (await world.snapshot())["backpressure"] == {"acme:gold": UNTIL + 1}


async def test_a_time_that_has_passed_holds_nobody(world: World) -> None:
    await world.enqueue(*some(1, tier="gold"))
    await press(world, (await world.claim()).actions[0], "tenant", NOW)
    assert await world.claim_ids() == ["acme-0"]


async def test_a_late_owner_says_nothing(world: World) -> None:
    await world.enqueue(*some(1, tier="gold"))
    [action] = (await world.claim()).actions
    stale = action._replace(token=9)
    assert await world.finish(stale, pressed="domain", pressed_until_ms=UNTIL) == [False]
    assert "backpressure" not in await world.snapshot()


async def test_it_ends_a_sleep_and_is_forgotten_without_claims(world: World) -> None:
    await world.enqueue(*some(1, tier="gold"))
    await press(world, (await world.claim()).actions[0], "tenant")
    assert await world.mailbox("w1") == ["wake"]  # what is back in line may be startable elsewhere
    world.clock.set(UNTIL)
    await world.engine.promote(world.domain)
    assert "backpressure" not in await world.snapshot()


@pytest.mark.parametrize("pressed", ["tenant", *WIDER])
async def test_an_operator_ends_it(world: World, pressed: str) -> None:
    await world.enqueue(*asks(2))
    await press(world, (await world.claim(slots=1)).actions[0], pressed)
    assert await world.claim_ids() == []
    await world.redis.delete(world.key("mailbox", "w1"))
    where = (world.engine, [world.domain])
    if pressed == "tenant":
        await overrides.resume_tenant(*where, "acme", by="ana")
    else:
        what = {"tier": pauses.tier("gold"), "domain": pauses.DOMAIN}.get(pressed, pauses.limit("openai"))
        assert await pauses.resume(*where, what, by="ana")
    assert "wake" in await world.mailbox("w1")
    assert len(await world.claim_ids()) == 2


async def test_a_limit_that_there_is_not(world: World) -> None:
    with pytest.raises(UnknownLimitError, match="unknown limit 'openia', did you mean 'openai'"):
        await pauses.resume(world.engine, [world.domain], pauses.limit("openia"), by="ana")
    with pytest.raises(ValueError, match="pause its action types"):
        await pauses.pause(world.engine, [world.domain], pauses.limit("openai"), by="ana")
