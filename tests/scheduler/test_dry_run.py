"""The dry run says what publishing does, before it is done: compared with what happens then."""

from __future__ import annotations

from typing import Any

import pytest
from redis.asyncio import Redis

from scheduler import Outcome, PolicyStore, TierInUseError
from scheduler.dry_run import TierEffect
from scheduler.occupied import NAMED, Occupied, Tenants
from scheduler.overrides import pause_tenant, set_override
from scheduler.pauses import action_type, pause
from scheduler.registry import Registry
from tests.scheduler.world import MINUTE, World, new, some

NOBODY = Tenants(0, [])


def policy(**tiers: str) -> str:
    """A policy of these tiers, best first."""
    text = f'default_tier = "{list(tiers)[-1]}"\n'
    for priority, (name, keys) in enumerate(tiers.items(), start=1):
        text += f"[tiers.{name}]\npriority = {priority}\n{keys}\n"
    return text


async def started(redis: Redis, text: str) -> tuple[World, PolicyStore]:
    """A domain under `text`, with a worker."""
    world = World(redis, text)
    store = PolicyStore(world.engine)
    await store.join([world.domain], by="worker w1")
    await world.worker("w1")
    return world, store


async def publish(store: PolicyStore, text: str) -> None:
    await store.publish(text, by="ana", why="a test")


async def test_nothing_is_written(redis: Redis) -> None:
    world, store = await started(redis, policy(free='limits = ["2/minute"]'))
    await world.enqueue(*some(5, "acme", "free"))
    await world.claim()
    before = await world.snapshot()
    found = await store.dry_run(policy(free='limits = ["9/minute"]'))
    assert await world.snapshot() == before
    assert (found.version, len(found.diff.changes)) == (1, 1)
    assert await redis.xlen("nooble::policies") == 1


async def test_a_raised_limit_lets_tenants_start_again(redis: Redis) -> None:
    world, store = await started(redis, policy(gold="", free='limits = ["2/minute"]'))
    await world.enqueue(*some(5, "acme", "free"), *some(2, "calm", "free"), *some(3, "rich", "gold"))
    await world.claim()
    for amount, expected in ((3, Tenants(1, ["acme"])), (2, None), (1, None)):
        found = await store.dry_run(policy(gold="", free=f'limits = ["{amount}/minute"]'))
        again = [effect.start_again for effect in found.effects if effect.start_again.total]
        assert again == ([expected] if expected else [])


async def test_what_was_used_exceeds_a_lowered_limit(redis: Redis) -> None:
    world, store = await started(redis, policy(free='limits = ["10/minute"]'))
    for count, tenant in ((1, "one"), (2, "two"), (3, "three")):
        await world.enqueue(*some(count, tenant, "free"))
    await world.claim()
    lower = policy(free='limits = ["2/minute"]')
    found = await store.dry_run(lower)
    assert found.effects == [TierEffect(world.domain, "free", "", NOBODY, Tenants(2, ["three", "two"]))]
    await publish(store, lower)
    await world.enqueue(*(new(f"{tenant}-more", tenant, "free") for tenant in ("one", "two", "three")))
    assert await world.claim_ids() == ["one-more"]


async def test_a_concurrency_limit_is_raised_and_removed(redis: Redis) -> None:
    world, store = await started(redis, policy(free="max_concurrency = 2"))
    await world.enqueue(*some(5, "acme", "free"))
    await world.claim()
    for keys, count in (("max_concurrency = 3", 1), ("", 1), ("max_concurrency = 1", 0)):
        found = await store.dry_run(policy(free=keys))
        assert sum(effect.start_again.total for effect in found.effects) == count


async def test_limits_of_the_domain(redis: Redis) -> None:
    text = policy(free="") + '[domains]\nembedding = ["{}/minute"]\n'
    world, store = await started(redis, text.replace("{}", "3"))
    await world.enqueue(*some(5, "acme", "free"))
    await world.claim()
    raised = await store.dry_run(text.replace("{}", "4"))
    assert raised.effects == [TierEffect(world.domain, "", "domain", Tenants(1, ["*"]), NOBODY)]
    assert raised.unserved == []
    await publish(store, text.replace("{}", "9"))
    lowered = await store.dry_run(text.replace("{}", "2"))
    assert lowered.effects == [TierEffect(world.domain, "", "domain", NOBODY, Tenants(1, ["*"]))]


async def test_many_tenants_are_counted_and_a_few_named(redis: Redis) -> None:
    world, store = await started(redis, policy(free='limits = ["1/day"]'))
    names = [f"t{number:03}" for number in range(450)]
    for name in names:
        await world.enqueue(*some(2, name, "free"))
    for _ in range(2):
        await world.claim(slots=500)
    [effect] = (await store.dry_run(policy(free='limits = ["2/day"]'))).effects
    assert effect.start_again == Tenants(450, names[:NAMED])


async def test_only_where_it_is_another(redis: Redis) -> None:
    """An override of one domain changes nothing for the others."""
    world, store = await started(redis, policy(free='limits = ["1/minute"]'))
    await store.join(["query"], by="worker w2")
    await world.enqueue(*some(2, "acme", "free"))
    await world.claim()
    text = policy(free='limits = ["1/minute"]') + '[tiers.free.domains.{}]\nlimits = ["5/minute"]\n'
    assert (await store.dry_run(text.replace("{}", "query"))).effects == []
    assert len((await store.dry_run(text.replace("{}", "embedding"))).effects) == 1
    found = await store.dry_run(text.replace("{}", "emebdding"))
    assert (found.effects, found.unserved) == ([], ["emebdding"])


BOTH = policy(gold="", free="")
ONE = policy(free="")


@pytest.mark.parametrize(
    "what", ["waiting", "held", "scheduled", "retrying", "running", "aside", "registered"]
)
async def test_a_tier_that_is_not_empty_stays(redis: Redis, what: str) -> None:
    world, store = await started(redis, BOTH.replace("priority = 1\n", "priority = 1\nmax_concurrency = 1\n"))
    later = {"due_ms": world.now + MINUTE} if what == "scheduled" else {}
    if what == "registered":
        await Registry(world.engine).register("acme", "gold", by="ana")
        await Registry(world.engine).drain("acme", by="ana")
    else:
        await world.enqueue(new("x1", "acme", "gold", **later))
    if what == "held":
        await world.enqueue(new("x2", "acme", "gold"))
    if what == "aside":
        await pause(world.engine, [world.domain], action_type("embedding.generate"), by="ana")
    if what in ("held", "running", "retrying", "aside"):
        claim = await world.claim()
    if what == "retrying":
        await world.finish(*claim.actions, outcome=Outcome.RETRY, due_ms=world.now + MINUTE)
    before = await world.snapshot()
    counts: dict[str, Any] = {
        "waiting": int(what in ("waiting", "held", "aside")),
        "scheduled": int(what in ("scheduled", "retrying")),
        "running": int(what in ("running", "held")),
        "registered": int(what == "registered"),
    }
    expected = Occupied(world.domain, "gold", Tenants(1, ["acme"]), **counts)
    found = await store.dry_run(ONE)
    assert (found.occupied, found.effects) == ([expected], [])
    for force in (False, True):
        with pytest.raises(TierInUseError, match="a tier can only go when it is empty") as error:
            await store.publish(ONE, by="ana", why="a test", force=force)
    assert error.value.occupied == [expected]
    assert f"{world.domain}: tier gold has 1 tenant (" in str(error.value)
    assert await world.snapshot() == before
    assert [each.version for each in await store.history()] == [1]


async def test_an_empty_tier_goes_and_comes_back(redis: Redis) -> None:
    world, store = await started(redis, BOTH)
    await world.enqueue(new("x1", "acme", "gold"))
    claim = await world.claim()
    await world.finish(*claim.actions)
    assert (await store.dry_run(ONE)).occupied == []
    await publish(store, ONE)
    await store.rollback(1, by="ana")
    await world.enqueue(new("x2", "acme", "gold"))
    assert await world.claim_ids() == ["x2"]


async def test_more_than_one_page_of_scheduled_actions(redis: Redis) -> None:
    world, store = await started(redis, BOTH)
    await world.enqueue(*(new(f"x{n}", "acme", "gold", due_ms=world.now + MINUTE) for n in range(450)))
    [found] = (await store.dry_run(ONE)).occupied
    assert (found.scheduled, found.tenants.total) == (450, 1)


async def test_in_place_of_nothing(redis: Redis) -> None:
    store = PolicyStore(World(redis).engine)
    found = await store.dry_run(BOTH)
    assert (found.version, found.diff.added, found.effects, found.occupied) == (0, ["gold", "free"], [], [])


async def test_who_has_limits_of_its_own_or_is_paused_is_not_touched(redis: Redis) -> None:
    world, store = await started(redis, policy(free='limits = ["2/minute"]'))
    for tenant in ("own", "paused", "calm", "busy"):
        await world.enqueue(*some(3, tenant, "free"))
    await world.claim(slots=20)
    await set_override(world.engine, [world.domain], "own", by="ana", limits=["1/day"])
    await pause_tenant(world.engine, [world.domain], "paused", by="ana")
    await world.claim(slots=20)
    [effect] = (await store.dry_run(policy(free='limits = ["3/minute"]'))).effects
    assert effect.start_again == Tenants(2, ["busy", "calm"])


async def test_limits_that_many_share(redis: Redis) -> None:
    """Of a whole tier, and of an upstream service."""
    text = policy(gold="", free='tier_limits = ["{}/minute"]')
    text += '[limits.upstream]\nrate = "{}/hour"\naction_types = ["embedding.generate"]\n'
    world, store = await started(redis, text.replace("{}", "4"))
    await world.enqueue(*some(3, "a", "free"), *some(3, "b", "free"))
    assert len(await world.claim_ids()) == 4
    raised = (await store.dry_run(text.replace("{}", "5"))).effects
    assert [(effect.tier, effect.shared, effect.start_again.total) for effect in raised] == [
        ("", "limit upstream", 1),
        ("free", "tier", 1),
    ]
    await publish(store, text.replace("{}", "9"))
    lowered = (await store.dry_run(text.replace("{}", "2"))).effects
    assert [(effect.tier, effect.shared, effect.over.total) for effect in lowered] == [
        ("", "limit upstream", 1),
        ("free", "tier", 1),
    ]


async def test_tenants_of_a_tier_while_no_domain_was_ever_served(redis: Redis) -> None:
    store = PolicyStore(World(redis, BOTH).engine)
    await publish(store, BOTH)
    await Registry(store._engine).register_many({"a": "gold", "b": "gold", "c": "free"}, by="ana")
    with pytest.raises(TierInUseError, match=r"all domains: tier gold has 2 tenants \(.* 2 registered\)"):
        await publish(store, ONE)


async def test_an_action_that_gets_into_the_tier_meanwhile(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The policy that lacks the tier is undone at once."""
    world, store = await started(redis, BOTH)
    inner = store._add

    async def add(last: int, text: str, by: str, why: str, moves: Any = None) -> Any:
        if text == ONE:
            await world.enqueue(new("late", "acme", "gold"))
        return await inner(last, text, by, why, moves)

    monkeypatch.setattr(store, "_add", add)
    with pytest.raises(TierInUseError, match="1 waiting"):
        await publish(store, ONE)
    newest, undone, _ = await store.history()
    assert (newest.version, newest.text, undone.text) == (3, BOTH, ONE)
    assert newest.why.startswith("undoes version 2")
    assert await world.claim_ids() == ["late"]
