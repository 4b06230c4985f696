"""publish: a compiled policy at work in one domain, never an older one in place of a newer."""

from __future__ import annotations

import json
from typing import Any

import pytest
from redis.asyncio import Redis

from scheduler import Policy
from scheduler.admission import settings_json
from tests.scheduler.world import World, changes, new, some

OTHER = 'default_tier = "free"\n[tiers.free]\npriority = 1\n'


async def test_it_is_at_work(redis: Redis) -> None:
    world = World(redis)
    assert await world.engine.publish_policy(world.domain) == 0
    assert await world.snapshot() == {
        "policy": world.policy.compile(world.domain).to_json(),
        "registry": {"*": settings_json(world.policy, world.domain)},
    }


async def test_a_newer_one_replaces_it_and_wakes_a_worker(world: World) -> None:
    await world.claim()
    before = await world.snapshot()
    world.engine.use_policy(Policy.parse(OTHER), 3)
    assert await world.engine.publish_policy(world.domain) == 3
    changed = changes(before, await world.snapshot())
    assert json.loads(changed.pop("policy"))["version"] == 3
    settings = {"*": settings_json(Policy.parse(OTHER), world.domain)}
    assert changed == {"sleepers": None, "mailbox:w1": ["wake"], "registry": settings}
    assert (await world.claim()).policy_version == 3


async def test_an_older_one_is_refused(world: World) -> None:
    world.engine.use_policy(Policy.parse(OTHER), 3)
    await world.engine.publish_policy(world.domain)
    before = await world.snapshot()
    world.engine.use_policy(world.policy, 2)
    assert await world.engine.publish_policy(world.domain) == 3
    assert await world.snapshot() == before


async def test_the_same_again_wakes_nobody(world: World) -> None:
    await world.claim()
    before = await world.snapshot()
    assert await world.engine.publish_policy(world.domain) == 0
    assert await world.snapshot() == before


async def test_a_policy_from_before_versions(world: World) -> None:
    compiled = json.loads(world.policy.compile(world.domain).to_json())
    del compiled["version"]
    await world.redis.set(world.key("policy"), json.dumps(compiled))
    assert (await world.claim()).policy_version == 0
    world.engine.use_policy(world.policy, 1)
    assert await world.engine.publish_policy(world.domain) == 1


async def test_a_claim_that_a_limit_of_the_domain_ends_tells_its_version(redis: Redis) -> None:
    world = World(redis, OTHER + '[domains]\nembedding = ["1/minute"]\n')
    await world.worker("w1")
    world.engine.use_policy(world.policy, 7)
    await world.engine.publish_policy(world.domain)
    await world.enqueue(new("x1", tier="free"), new("x2", tier="free"))
    assert [(await world.claim()).policy_version for _ in range(2)] == [7, 7]


LIMITED = """
default_tier = "free"
[tiers.gold]
priority = 1
limits = ["1/minute"]
[tiers.free]
priority = 2
limits = ["2/minute", "9/day"]
[tiers.solo]
priority = 3
max_concurrency = 1
"""


async def prepared(redis: Redis) -> World:
    """In each tier of `LIMITED` two tenants are held."""
    world = World(redis, LIMITED)
    world.engine.use_policy(world.policy, 1)
    await world.worker("w1")
    await world.engine.publish_policy(world.domain)
    for tier in ("gold", "free", "solo"):
        for tenant in ("a", "b"):
            await world.enqueue(*some(5, f"{tier}-{tenant}", tier))
    await world.claim(slots=20)
    assert len(await world.redis.zrange(world.key("held"), 0, -1)) == 6
    return world


CHANGES: dict[str, tuple[str, str, set[str]]] = {
    "raised": ("2/minute", "3/minute", {"free"}),
    "lowered": ("2/minute", "1/minute", {"free"}),
    "removed": ('limits = ["1/minute"]', "", {"gold"}),
    "more concurrency": ("max_concurrency = 1", "max_concurrency = 2", {"solo"}),
    "any concurrency": ("max_concurrency = 1", "", {"solo"}),
    "a limit of the tier": ("priority = 3", 'priority = 3\ntier_limits = ["9/minute"]', set()),
    "one that binds nobody": ("9/day", "8/day", set()),
    "nothing that holds": ("priority = 1", "priority = 1\ntimeout = 9\nweight = 2", set()),
}


@pytest.mark.parametrize("change", CHANGES)
async def test_it_ends_the_holds_that_only_the_old_policy_causes(redis: Redis, change: str) -> None:
    old, new_text, tiers = CHANGES[change]
    world = await prepared(redis)
    world.engine.use_policy(Policy.parse(LIMITED.replace(old, new_text)), 2)
    await world.engine.publish_policy(world.domain)
    held = await world.redis.zrange(world.key("held"), 0, -1)
    assert {member.decode().split(":")[1] for member in held} == {"gold", "free", "solo"} - tiers
    assert not await world.redis.exists(world.key("unsettled"))
    started = {action.tier for action in (await world.claim(slots=20)).actions}
    assert started == (tiers if change != "lowered" else set())


async def test_a_publisher_that_dies_before_it_ended_the_holds(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = await prepared(redis)
    raised = Policy.parse(LIMITED.replace("2/minute", "3/minute"))
    world.engine.use_policy(raised, 2)

    async def dies(*_: Any) -> None:
        raise ConnectionError("gone")

    with monkeypatch.context() as patch:
        patch.setattr("scheduler.engine.settle", dies)
        with pytest.raises(ConnectionError):
            await world.engine.publish_policy(world.domain)
    assert await world.claim_ids(slots=20) == []
    await world.engine.publish_policy(world.domain)
    assert {action.tier for action in (await world.claim(slots=20)).actions} == {"free"}
    assert not await world.redis.exists(world.key("unsettled"))


async def test_two_publishers_that_died(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """What both replaced is not known any more: everybody who is held is looked at."""
    world = await prepared(redis)

    async def dies(*_: Any) -> None:
        raise ConnectionError("gone")

    with monkeypatch.context() as patch:
        patch.setattr("scheduler.engine.settle", dies)
        for version, amount in ((2, 3), (3, 4)):
            world.engine.use_policy(Policy.parse(LIMITED.replace("2/minute", f"{amount}/minute")), version)
            with pytest.raises(ConnectionError):
                await world.engine.publish_policy(world.domain)
    await world.engine.publish_policy(world.domain)
    assert await world.redis.zcard(world.key("held")) == 0
    assert {action.tier for action in (await world.claim(slots=20)).actions} == {"free"}
    assert await world.redis.zcard(world.key("held")) == 6


async def test_what_is_remembered_of_a_tier_goes_with_it(redis: Redis) -> None:
    world = World(redis, LIMITED)
    await world.worker("w1")
    await world.engine.publish_policy(world.domain)
    await world.enqueue(*some(2, "a", "solo"), *some(1, "b", "solo"), *some(1, "c", "free"))
    for _ in range(4):
        await world.finish(*(await world.claim()).actions)
    assert "vt:solo" in (await world.snapshot())["fairness"]
    without = LIMITED[: LIMITED.index("[tiers.solo]")]
    world.engine.use_policy(Policy.parse(without), 2)
    await world.engine.publish_policy(world.domain)
    after = await world.snapshot()
    assert "vt:solo" not in after["fairness"]
    assert "vt:free" in after["fairness"]
    assert "tags:solo" not in after


async def test_a_named_limit_is_raised(redis: Redis) -> None:
    text = 'default_tier = "free"\n[tiers.free]\npriority = 1\n[limits.upstream]\nrate = "2/minute"\n'
    text += 'action_types = ["embedding.generate"]\n'
    world = World(redis, text)
    world.engine.use_policy(world.policy, 1)
    await world.worker("w1")
    await world.engine.publish_policy(world.domain)
    await world.enqueue(*some(5, "a", "free"))
    assert len(await world.claim_ids()) == 2
    assert await world.claim_ids() == []
    world.engine.use_policy(Policy.parse(text.replace("2/minute", "3/minute")), 2)
    await world.engine.publish_policy(world.domain)
    assert len(await world.claim_ids()) == 1
