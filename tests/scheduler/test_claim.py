"""claim: ownership, order within a tenant, sleeping and waking."""

from __future__ import annotations

from redis.asyncio import Redis

from scheduler import Outcome
from tests.scheduler.world import MINUTE, NOW, World, changes, ids, new, some


async def test_takes_with_ownership(world: World) -> None:
    await world.enqueue(new("x1", deadline_ms=NOW + 9, reply_to="c1", unique_key="u"), new("x2"))
    before = await world.snapshot()
    world.clock.advance(5)
    claim = await world.claim(slots=1)
    assert changes(before, await world.snapshot()) == {
        "fairness": {"token": "1", "vt:enterprise": "500000", "credit:enterprise": "0"},
        "owned:w1": {"x1": f"1 acme:enterprise @ 1 {NOW + 5} 1000000"},
        "ready:enterprise": {"acme": 1_000_000},
        "stream acme:enterprise": {"entries": ["x1", "x2"], "running": {"x1": 1}},
        "waiting": {"acme:enterprise": "1"},
    }
    assert (claim.more, claim.lost) == (True, False)
    [action] = claim.actions
    assert action._asdict() == {
        "action_id": "x1",
        "action_type": "embedding.generate",
        "tenant_id": "acme",
        "tier": "enterprise",
        "payload": b'{"id":"x1"}',
        "attempt": 1,
        "token": 1,
        "enqueued_ms": NOW,
        "claimed_ms": NOW + 5,
        "deadline_ms": NOW + 9,
        "reply_to": "c1",
        "unique_key": "u",
        "expired": False,
        "cancelled": False,
    }


async def test_the_last_one_drains_the_tenant(world: World) -> None:
    await world.enqueue(new("x1"))
    before = await world.snapshot()
    claim = await world.claim(slots=1)
    assert not claim.more
    assert changes(before, await world.snapshot()) == {
        "fairness": {"token": "1", "vt:enterprise": "1000000", "credit:enterprise": "0"},
        "owned:w1": {"x1": f"1 acme:enterprise @ 1 {NOW} 1000000"},
        "ready:enterprise": None,
        "stream acme:enterprise": {"entries": ["x1"], "running": {"x1": 1}},
        "waiting": None,
    }


async def test_first_attempts_in_order_of_enqueue(world: World) -> None:
    await world.enqueue(*some(7))
    taken = [await world.claim_ids(slots=slots) for slots in (1, 2, 3, 4)]
    assert [one for each in taken for one in each] == [f"acme-{n}" for n in range(7)]


async def test_returned_entries_are_first_in_line_in_order_of_entry(world: World) -> None:
    await world.enqueue(*some(5))
    a, b, c = (await world.claim(slots=3)).actions
    await world.finish(c, outcome=Outcome.RETRY)
    await world.finish(a, outcome=Outcome.RETRY)
    await world.engine.release(world.domain, "w1", [b])
    claim = await world.claim(slots=4)
    assert [(action.action_id, action.attempt) for action in claim.actions] == [
        ("acme-0", 2),
        ("acme-1", 1),
        ("acme-2", 2),
        ("acme-3", 1),
    ]


async def test_returned_entries_of_one_millisecond_keep_their_order(world: World) -> None:
    actions = some(250)  # sequence numbers of one, two and three digits
    await world.enqueue(*actions)
    claim = await world.claim(slots=250)
    await world.engine.release(world.domain, "w1", list(reversed(claim.actions)))
    assert await world.claim_ids(slots=250) == [action.action_id for action in actions]


async def test_an_expired_action_is_handed_over_and_not_charged(world: World) -> None:
    await world.enqueue(
        new("x1", deadline_ms=NOW), new("x2", deadline_ms=NOW + 1), tier_free := new("f", tier="free")
    )
    claim = await world.claim(slots=3)
    assert {a.action_id: a.expired for a in claim.actions} == {"x1": True, "x2": False, "f": False}
    picture = await world.snapshot()
    assert picture["fairness"]["vt:enterprise"] == "1000000"  # one start, not two
    assert tier_free.tier == "free"


async def test_expired_actions_spend_no_limit(world: World) -> None:
    await world.enqueue(
        *[new(f"old{n}", tier="free", deadline_ms=NOW) for n in range(5)], *some(5, tier="free")
    )
    taken: list[str] = []
    while (claim := await world.claim()).actions:
        taken += ids(claim.actions)
    assert taken == [f"old{n}" for n in range(5)] + [f"acme-{n}" for n in range(3)]


async def test_what_expires_leaves_the_rest_startable_at_once(world: World) -> None:
    """One slot goes to the expired one; the reply says that there is more, so no slot waits."""
    await world.enqueue(*some(2, tier="free"))
    await world.claim(slots=2)
    await world.enqueue(new("old", "acme", "free", deadline_ms=NOW), new("x", "acme", "free"))
    claim = await world.claim(slots=5)
    assert (ids(claim.actions), claim.more) == (["old"], True)
    assert await world.claim_ids(slots=4) == ["x"]


async def test_lost_worker(world: World) -> None:
    await world.enqueue(new("x1"))
    before = await world.snapshot()
    claim = await world.claim("stranger")
    assert (claim.lost, claim.actions) == (True, [])
    assert await world.snapshot() == before


async def test_a_lease_that_ended_unnoticed_is_prolonged(world: World) -> None:
    await world.enqueue(new("x1"))
    world.clock.advance(MINUTE)
    assert await world.claim_ids() == ["x1"]
    assert (await world.snapshot())["workers"] == {"w1": NOW + MINUTE + world.engine.lease_ms}


async def test_without_a_policy_its_own_is_published(redis: Redis) -> None:
    world = World(redis)
    await world.worker("w1")
    await world.enqueue(new("x1"))
    assert await world.claim_ids() == ["x1"]
    assert (await world.snapshot())["policy"] == world.policy.compile(world.domain).to_json()


async def test_a_published_policy_with_other_calendar_quotas(redis: Redis) -> None:
    """A worker that still has an older file claims under the newer policy."""
    quota = 'default_tier="free"\ntime_zone="{}"\n[tiers.free]\npriority=1\nlimits=["1/day"]'
    newer = World(redis, quota.format("Europe/Madrid"))
    await newer.engine.publish_policy(newer.domain)
    older = World(redis, quota.format("UTC"))
    await older.worker("w1")
    await older.enqueue(*some(2, tier="free"))
    assert await older.claim_ids() == ["acme-0"]
    assert await older.claim_ids() == []


async def test_a_worker_with_nothing_to_take_is_a_sleeper(world: World) -> None:
    before = await world.snapshot()
    claim = await world.claim()
    assert claim == ([], 0, False, False, 0)
    assert changes(before, await world.snapshot()) == {"sleepers": {"w1": NOW}}


async def test_a_worker_with_a_free_slot_left_is_a_sleeper(world: World) -> None:
    await world.enqueue(new("x1"))
    await world.claim(slots=2)
    assert (await world.snapshot())["sleepers"] == {"w1": NOW}


async def test_a_full_worker_is_no_sleeper(world: World) -> None:
    await world.claim()
    await world.enqueue(new("x1"))
    await world.claim(slots=1)
    assert "sleepers" not in await world.snapshot()


async def test_a_full_worker_that_leaves_work_wakes_the_next(world: World) -> None:
    await world.worker("w2", "w3")
    for worker in ("w2", "w3", "w1"):
        world.clock.advance(1)
        await world.claim(worker)
    await world.enqueue(*some(3))
    assert (await world.claim(slots=2)).more
    assert [await world.mailbox(worker) for worker in ("w1", "w3", "w2")] == [["wake"], ["wake"], []]
    assert not (await world.claim("w3", slots=2)).more
    assert await world.mailbox("w2") == []


async def test_next_due_is_the_soonest_of_scheduled_and_held(world: World) -> None:
    await world.enqueue(*some(4, tier="free"), new("later", due_ms=NOW + 2 * MINUTE))
    claim = await world.claim()
    assert (len(claim.actions), claim.next_due_ms) == (3, NOW + MINUTE + 1)
    await world.enqueue(new("sooner", due_ms=NOW + 70))
    assert (await world.claim()).next_due_ms == NOW + 70


async def test_due_work_is_promoted_by_a_claim(world: World) -> None:
    await world.enqueue(new("x1", due_ms=NOW + 50), new("x2", tier="free", due_ms=NOW + 40))
    world.clock.advance(50)
    assert sorted(await world.claim_ids()) == ["x1", "x2"]
    assert (await world.snapshot()).keys().isdisjoint({"scheduled", "delayed"})
