"""why: every state and every cause on a real server, in a sentence and in figures; nothing is written."""

from __future__ import annotations

import pytest
from redis.asyncio import Redis

from scheduler import Finish, Outcome, State
from scheduler.counts import domain_counts
from scheduler.inspect import state_of
from scheduler.tenants import tenants
from scheduler.usage import tenant_limits
from scheduler.why import Cause, Why, find, ids_like, why
from tests.scheduler.why_cases import CASES, Case
from tests.scheduler.why_worlds import POLICY, busy_worker, failed, nothing
from tests.scheduler.world import DAY, MINUTE, NOW, World, new, some


@pytest.fixture
async def world(redis: Redis) -> World:
    world = World(redis, POLICY)
    await world.engine.publish_policy(world.domain)
    return world


async def looked(world: World, action_id: str) -> Why:
    """What `why` says; it leaves everything as it was."""
    before = await world.snapshot()
    told = await why(world.engine, world.domain, action_id)
    assert await world.snapshot() == before
    assert told is not None
    return told


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
async def test_what_binds(world: World, case: Case) -> None:
    await case.given(world)
    told = await looked(world, case.action_id)
    assert (told.state, [binding.cause for binding in told.causes]) == (case.state, case.causes)
    assert (told.ahead, told.earliest_start_ms) == (case.ahead, case.earliest_ms)
    assert told.sentence == case.sentence


def test_every_cause_has_a_case() -> None:
    shown = {cause for case in CASES.values() for cause in case.causes}
    assert shown == set(Cause)


async def test_a_running_one(world: World) -> None:
    await busy_worker(world)
    told = await looked(world, "acme-0")
    assert (told.state, told.worker, told.attempt) == (State.RUNNING, "w1", 1)
    assert told.lease_until_ms == NOW + world.engine.lease_ms
    assert NOW - 5_000 < told.started_ms <= NOW
    assert told.sentence.startswith("acme-0 runs on worker w1 for ")
    assert told.sentence.endswith("attempt 1; the lease lasts until 2025-06-15 15:06:55Z.")


@pytest.mark.parametrize(
    ("outcome", "sentence"),
    [
        (
            Outcome.COMPLETED,
            "acme-0 completed at 2025-06-15 15:06:42Z, 1.0 s ago; it waited 0 ms and ran 1.5 s",
        ),
        (Outcome.CANCELLED, "acme-0 was cancelled at 2025-06-15 15:06:42Z"),
        (
            Outcome.DEAD,
            "acme-0 failed for good at 2025-06-15 15:06:42Z, 1.0 s ago; it waited 0 ms and ran 1.5 s "
            "(attempt 1): gone.",
        ),
        (Outcome.EXPIRED, "acme-0 expired: its deadline passed before it could start at"),
    ],
)
async def test_the_ends(world: World, outcome: Outcome, sentence: str) -> None:
    await world.worker("w1")
    await world.enqueue(new("acme-0"))
    [claimed] = (await world.claim()).actions
    world.clock.advance(2_000)
    await world.engine.finish(
        world.domain, "w1", [Finish(claimed, outcome, run_time_us=1_500_000, reason="gone")]
    )
    world.clock.advance(1_000)
    told = await looked(world, "acme-0")
    assert told.state is State(outcome.value)
    assert told.sentence.startswith(sentence)
    assert (told.tenant_id, told.tier, told.action_type) == ("acme", "enterprise", "embedding.generate")
    [event] = told.history
    assert (event.outcome, event.attempt, event.at_ms) == (outcome.value, 1, NOW + 2_000)

    world.clock.advance(DAY)  # the id is forgotten, the events are not
    await world.redis.delete(*[key async for key in world.redis.scan_iter(match="*:done:*")])
    later = await why(world.engine, world.domain, "acme-0")
    assert later is not None
    assert later.state is told.state
    await world.redis.delete(world.key("events"))
    assert await why(world.engine, world.domain, "acme-0") is None


async def test_every_attempt_is_told(world: World) -> None:
    await failed(world)
    world.clock.advance(8_000)
    [claimed] = (await world.claim()).actions
    again = await looked(world, "acme-0")
    assert [(error.attempt, error.worker, error.error[:10]) for error in again.errors] == [
        (1, "w1", "ValueError")
    ]
    await world.finish(claimed)
    told = await looked(world, "acme-0")
    assert [(event.attempt, event.outcome) for event in told.history] == [(2, "completed"), (1, "retry")]


async def test_the_events_are_searched_page_by_page(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scheduler.why_facts._EVENTS_AT_ONCE", 2)
    await world.worker("w1")
    await world.enqueue(*some(9, "acme"))
    for action in (await world.claim()).actions:
        await world.finish(action)
    told = await looked(world, "acme-0")
    assert [event.action_id for event in told.history] == ["acme-0"]
    monkeypatch.setattr("scheduler.why_facts._EVENTS_AT_MOST", 4)
    assert (await looked(world, "acme-0")).history == ()


async def test_a_long_line_is_counted_page_by_page(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await world.worker("w1")
    await world.enqueue(*some(2_345, "acme"))
    back = (await world.claim(slots=3)).actions
    await world.engine.release(world.domain, "w1", back[:2])
    assert [(await looked(world, f"acme-{n}")).ahead for n in (0, 1, 3, 4, 999, 2_344)] == [
        0,
        1,
        2,
        3,
        998,
        2_343,
    ]
    monkeypatch.setattr("scheduler.why_facts._COUNTED_AT_MOST", 1_500)
    last = await looked(world, "acme-2344")
    assert not last.ahead_exact
    assert 1_500 <= (last.ahead or 0) < 2_343
    assert f"is behind more than {last.ahead:,} others in acme's line" in last.sentence


async def test_where_it_is(world: World) -> None:
    """Domains are asked one after the other; near ids are offered for one that nobody knows."""
    await nothing(world)
    [found] = await find(world.engine, ["query", world.domain], "acme-1")
    assert (found.domain, found.action_id) == (world.domain, "acme-1")
    assert await find(world.engine, ["query", world.domain], "acme-7") == []
    assert await ids_like(world.engine, [world.domain], "acme-") == ["acme-0", "acme-1", "acme-2"]
    assert "acme-1" in await ids_like(world.engine, [world.domain], "acne-1")
    assert await ids_like(world.engine, [world.domain], "zzz") == []


async def test_those_before_it_use_up_the_limit_of_the_whole_tier_too(world: World) -> None:
    policy = 'default_tier = "t"\n[tiers.t]\npriority = 1\ntier_limits = ["2/minute"]\n'
    limited = World(world.redis, policy)
    await limited.engine.publish_policy(limited.domain)
    await limited.worker("w1")
    await limited.enqueue(*some(8, "acme", "t"))
    await limited.claim(slots=5)
    told = await looked(limited, "acme-7")
    assert (told.ahead, told.earliest_start_ms, told.earliest_exact) == (5, NOW + 3 * (MINUTE + 1), False)
    assert "; it starts some time after 2025-06-15 15:09:41Z, in 3 min" in told.sentence


async def test_a_hold_whose_time_has_come_holds_nobody_where_no_worker_is_left(world: World) -> None:
    await world.worker("w1")
    await world.enqueue(*some(5, "acme", "free"))
    await world.claim(slots=9)
    assert (await looked(world, "acme-4")).state is State.HELD
    world.clock.advance(2 * MINUTE)
    told = await looked(world, "acme-4")
    assert (told.state, told.causes[0].cause) == (State.READY, Cause.NO_WORKER)
    assert await state_of(world.engine, world.domain, "acme-4") is State.READY
    [row] = (found := await tenants(world.engine, world.domain)).rows
    assert (row.held, row.held_why, found.workers) == (False, "", 0)
    counts = await domain_counts(world.engine, world.domain)
    assert (counts.workers, counts.sleepers) == (0, 0)
    limits = await tenant_limits(world.engine, world.domain, "acme", "free")
    assert (limits.held, limits.held_why) == (False, "")
