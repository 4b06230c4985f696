"""Which tier an action waits in, and who may not wait: the script beside the plain rules, the registry."""

from __future__ import annotations

from itertools import product

import pytest
from redis.asyncio import Redis

from scheduler import (
    Engine,
    Outcome,
    Policy,
    Refusal,
    RefusalReason,
    Registration,
    Registry,
    RegistryError,
    UnknownTierError,
)
from scheduler.admission import NOBODY, admission_of
from scheduler.policy_store import PolicyStore
from tests.scheduler.world import MINUTE, NOW, World, changes, new, some

TIERS = """
default_tier = "silver"
unregistered = "{0}"
[tiers.gold]
priority = 1
[tiers.silver]
priority = 2
[tiers.bronze]
priority = 3
"""
STRICT, TRUSTING = TIERS.format("default"), TIERS.format("claimed")


@pytest.fixture
async def strict(redis: Redis) -> World:
    world = World(redis, STRICT)
    await world.worker("w1")
    await world.engine.publish_policy(world.domain)
    return world


def registry_of(world: World) -> Registry:
    return Registry(world.engine)


@pytest.mark.parametrize("others", [0, 1], ids=["alone", "in company"])
@pytest.mark.parametrize("policy", [STRICT, TRUSTING])
async def test_the_script_decides_by_the_plain_rules(redis: Redis, policy: str, others: int) -> None:
    world = World(redis, policy)
    await world.engine.publish_policy(world.domain)
    for tier in ("gold", "silver", "bronze"):  # their streams are there: one alone goes a shorter way then
        await world.redis.hset(world.key("registry"), "acme", Registration(tier).wire())
        await world.enqueue(new(tier, tier=tier))
    await redis.xgroup_create(world.stream(tier="strict"), "workers", mkstream=True)  # of a tier that is gone
    rules = admission_of(world.policy)
    registrations = [
        None,
        *(Registration(*each) for each in product(("gold", "bronze", "gone"), (False, True))),
    ]
    registrations.append(Registration(None, True))
    claims = ["", "gold", "silver", "bronze", "lead", "strict", "default", "~gold", "~bronze", "~lead"]
    for n, (registration, claim) in enumerate(product(registrations, claims)):
        if registration is None:
            await world.redis.hdel(world.key("registry"), "acme")
        else:
            await world.redis.hset(world.key("registry"), "acme", registration.wire())
        [said, *_] = await world.enqueue(new(f"x{n}", tier=claim), *some(others, "other", ""))
        expected = rules.tier_of("acme", registration or NOBODY, claim)
        where = f"{registration} claims {claim!r}"
        assert said.refusal == (expected if isinstance(expected, Refusal) else None), where
        assert said.accepted == isinstance(expected, str), where
        if isinstance(expected, str):
            assert said.tier == expected, where
            assert await world.redis.hget(world.key("actions"), f"x{n}") is not None


@pytest.mark.parametrize("what", ["tier", "unknown", "draining"])
async def test_nothing_is_written_of_what_is_refused(strict: World, what: str) -> None:
    if what == "draining":
        await registry_of(strict).drain("acme", by="ana", domains=[strict.domain])
    await strict.claim()
    before = await strict.snapshot()
    claimed = {"tier": "gold", "unknown": "lead", "draining": ""}[what]
    [said] = await strict.enqueue(new("x1", tier=claimed, unique_key="u", due_ms=NOW + 5))
    assert said.refusal
    assert await strict.snapshot() == before


async def test_the_others_of_a_call_are_in_line(strict: World) -> None:
    said = await strict.enqueue(new("x1", tier=""), new("x2", tier="gold"), new("x3", tier="bronze"))
    assert [each.accepted for each in said] == [True, False, True]
    assert [each.tier for each in said] == ["silver", "gold", "bronze"]
    assert said[1].refusal == Refusal(
        RefusalReason.TIER, "acme", "gold", "silver", False, ("gold", "silver", "bronze")
    )
    assert (await strict.snapshot())["waiting"] == {"acme:silver": "1", "acme:bronze": "1"}


async def test_a_duplicate_is_a_duplicate_even_when_it_would_be_refused_now(strict: World) -> None:
    await strict.enqueue(new("x1", tier="", unique_key="u"), new("x2", tier=""))
    await registry_of(strict).drain("acme", by="ana")
    assert await strict.enqueue(new("x1", tier="gold")) == [("x1", False, "x1", "silver", None)]
    assert await strict.enqueue(new("x9", tier="", unique_key="u")) == [("x9", False, "x1", "silver", None)]
    await strict.finish(*(await strict.claim()).actions)
    assert await strict.enqueue(new("x2", tier="")) == [("x2", False, "x2", "", None)]


async def test_a_domain_nobody_has_served_yet(redis: Redis) -> None:
    world = World(redis, STRICT)
    await Registry(world.engine).register("acme", "gold", by="ana")
    assert (await world.enqueue(new("x1", tier="")))[0].tier == "gold"
    assert await PolicyStore(world.engine).domains() == [world.domain]


async def test_registered_for_all_domains_also_for_those_to_come(redis: Redis) -> None:
    first, second, third = (World(redis, STRICT, domain=name) for name in ("one", "two", "three"))
    await first.engine.publish_policy("one")
    registry = registry_of(first)
    await registry.register_many({f"t{n}": "gold" for n in range(1_200)}, by="ana", why="first customers")
    await registry.drain("t7", by="ana")
    await registry.drain("stranger", by="ana")
    await second.engine.publish_policy("two")
    assert await registry.tenants("two") == await registry.tenants("one") == await registry.tenants()
    assert await registry.get("t7", "two") == Registration("gold", True)
    assert await registry.get("stranger", "two") == Registration(None, True)
    await registry.register("t1", "bronze", by="ana", domains=["two"])
    assert (await second.enqueue(new("x1", "t1", "")))[0].tier == "bronze"
    assert (await first.enqueue(new("x1", "t1", "")))[0].tier == "gold"
    assert (await third.enqueue(new("x1", "t1", "")))[0].tier == "gold"


async def test_drain_lets_what_waits_run_and_what_runs_be_retried(strict: World) -> None:
    await strict.enqueue(new("x1", tier=""), new("x2", tier="", due_ms=NOW + MINUTE))
    await registry_of(strict).drain("acme", by="ana", why="moves out")
    assert (await strict.enqueue(new("x3", tier="")))[0].refusal == Refusal(
        RefusalReason.DRAINING, "acme", "silver"
    )
    [action] = (await strict.claim()).actions
    await strict.finish(action, outcome=Outcome.RETRY, due_ms=NOW)
    [action] = (await strict.claim()).actions
    await strict.finish(action)
    strict.clock.advance(MINUTE)
    assert await strict.claim_ids() == ["x2"]
    assert await registry_of(strict).resume("acme", by="ana")
    assert not await registry_of(strict).resume("acme", by="ana")
    assert (await strict.enqueue(new("x3", tier="")))[0].accepted


async def test_a_drain_and_a_registration_do_not_undo_each_other(strict: World) -> None:
    registry = registry_of(strict)
    await registry.drain("acme", by="ana")
    await registry.register("acme", "gold", by="ana")
    assert await registry.get("acme") == await registry.get("acme", strict.domain) == ("gold", True)
    assert await registry.unregister("acme", by="ana")
    assert await registry.get("acme") == await registry.get("acme", strict.domain) == (None, True)
    await registry.resume("acme", by="ana")
    assert await registry.get("acme") is await registry.get("acme", strict.domain) is None
    assert not await registry.unregister("acme", by="ana")
    assert (await strict.snapshot())["registry"].keys() == {"*"}


async def test_who_when_and_why_is_kept(strict: World) -> None:
    registry = registry_of(strict)
    await registry.register("acme", "gold", by="ana", why="bought it")
    strict.clock.advance(5)
    await registry.register("acme", "gold", by="ana", why="again: changes nothing")
    await registry.drain("acme", by="bo", why="bill")
    assert (await strict.snapshot())["operations"] == [
        {"at": str(NOW), "by": "ana", "why": "bought it", "did": "register acme gold"},
        {"at": str(NOW + 5), "by": "bo", "why": "bill", "did": "drain acme"},
    ]


async def test_what_cannot_be_right_changes_nothing(strict: World) -> None:
    registry, before = registry_of(strict), await strict.redis.keys()
    with pytest.raises(UnknownTierError, match="did you mean 'silver'"):
        await registry.register_many({"acme": "gold", "b": "silber"}, by="ana")
    with pytest.raises(RegistryError, match="did you mean 'embedding'"):
        await registry.register("acme", "gold", by="ana", domains=["embeding"])
    with pytest.raises(RegistryError, match="no tenant id"):
        await registry.register("a:b", "gold", by="ana")
    with pytest.raises(RegistryError, match="who gives the command"):
        await registry.drain("acme", by=" ")
    assert await strict.redis.keys() == before
    assert (await strict.snapshot())["registry"].keys() == {"*"}


async def test_a_new_policy_is_what_enqueue_goes_by(strict: World) -> None:
    await registry_of(strict).register("acme", "gold", by="ana")
    strict.engine.use_policy(Policy.parse('default_tier = "iron"\n[tiers.iron]\npriority = 1\n'), 2)
    await strict.engine.publish_policy(strict.domain)
    assert (await strict.enqueue(new("x1", tier="")))[0].tier == "iron"
    assert (await strict.enqueue(new("x2", tier="silver")))[0].refusal == Refusal(
        RefusalReason.UNKNOWN_TIER, "acme", "silver", known=("iron",)
    )


async def test_an_older_process_brings_no_older_rules(strict: World) -> None:
    newer = Engine(strict.redis, policy=Policy.parse(TRUSTING), clock=strict.clock)
    newer.use_policy(newer.policy, 5)
    await newer.publish_policy(strict.domain)
    before = await strict.snapshot()
    assert await strict.engine.publish_policy(strict.domain) == 5
    assert await strict.snapshot() == before
    await strict.redis.hdel(strict.key("registry"), "*")  # of a release that knew no registry
    assert (await strict.enqueue(new("x1", tier="")))[0].tier == "silver"
    await newer.publish_policy(strict.domain)
    assert set(changes(before, await strict.snapshot())) == {
        "actions", "counters", "ready:silver", "stream acme:silver", "waiting"
    }  # fmt: skip
