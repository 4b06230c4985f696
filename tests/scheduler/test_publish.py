"""publish: a compiled policy at work in one domain, never an older one in place of a newer."""

from __future__ import annotations

import json

from redis.asyncio import Redis

from scheduler import Policy
from tests.scheduler.world import World, changes, new

OTHER = 'default_tier = "free"\n[tiers.free]\npriority = 1\n'


async def test_it_is_at_work(redis: Redis) -> None:
    world = World(redis)
    assert await world.engine.publish_policy(world.domain) == 0
    assert await world.snapshot() == {"policy": world.policy.compile(world.domain).to_json()}


async def test_a_newer_one_replaces_it_and_wakes_a_worker(world: World) -> None:
    await world.claim()
    before = await world.snapshot()
    world.engine.use_policy(Policy.parse(OTHER), 3)
    assert await world.engine.publish_policy(world.domain) == 3
    changed = changes(before, await world.snapshot())
    assert json.loads(changed.pop("policy"))["version"] == 3
    assert changed == {"sleepers": None, "mailbox:w1": ["wake"]}
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
