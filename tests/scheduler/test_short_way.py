"""The short way through `enqueue` does what the long one does, whatever tiers and tenants are called."""

from __future__ import annotations

import random
import re
from typing import Any

import pytest
from redis.asyncio import Redis

from scheduler import NewAction, Policy, Registration, scripts
from scheduler.admission import enqueue_args
from tests.scheduler.world import NOW, World, snapshot

TIERS = ["refuse", "moved", "strict", "order", "default", "a", "aa", "b.a", "true", "a-b"]
TENANTS = ["a", "t", "refuse", "strict", "default", "order", "drain", "x.y", "aa"]
CLAIMS = [*TIERS, "", "none", "A", "[", "-", "a b"]
LONG = re.compile(r"^repeat$.*?^until true$", re.MULTILINE | re.DOTALL)


def policies() -> list[Policy]:
    dice = random.Random(5)
    made = []
    for unregistered in ("claimed", "default"):
        for more in ("", 'over_limit = "refuse"\nlimits = ["2/minute"]', "max_backlog = 3"):
            names = dice.sample(TIERS, 5)
            text = f'default_tier = "{names[1]}"\nunregistered = "{unregistered}"\n'
            for rank, name in enumerate(names, 1):
                text += f'[tiers."{name}"]\npriority = {rank}\n{more if rank == 2 else ""}\n'
            made.append(Policy.parse(text))
            gone = next(name for name in TIERS if name not in names)
            made.append(Policy.parse(text).with_moves({gone: names[0]}))
    return made


async def put(world: World, script: scripts.Script, action: NewAction) -> Any:
    args = [*world.engine.enqueue_head(world.domain, world.now), *enqueue_args((action,), world.now)]
    reply = await scripts.run(world.redis, script, world.engine.keys.root(world.domain), args)
    return reply[0] if isinstance(reply, list) and len(reply) == 1 else reply


@pytest.mark.parametrize("policy", policies())
async def test_both_ways_do_the_same(redis: Redis, policy: Policy) -> None:
    body = scripts._read("enqueue.lua")
    ways = [scripts.load("enqueue"), scripts.compose("enqueue", LONG.sub("", body))]
    assert len(ways[1].text) < len(ways[0].text)
    worlds = [World(redis, policy, domain=name) for name in ("short", "long")]
    dice = random.Random(7)
    for world in worlds:
        await world.engine.publish_policy(world.domain)
        await world.worker("w1")
    told: set[str] = set()
    names = policy.names()
    claims = [*CLAIMS, '","'.join(names[:2]), '","'.join(names), f'{names[0]}"', f'"{names[0]}']
    for _ in range(150):
        tenant = dice.choice(TENANTS)
        what = dice.random()
        if what < 0.2:
            tier = dice.choice([None, *TIERS])
            record = Registration(tier, dice.random() < 0.2).wire()
            for world in worlds:
                await world.redis.hset(world.key("registry"), tenant, record)
            continue
        if what < 0.25:
            for world in worlds:
                await world.claim(slots=1)
            continue
        if what < 0.27:
            for world in worlds:
                await world.redis.zadd(world.key("held"), {f"{tenant}:{names[0]}": NOW + 1_000})
            continue
        claimed = dice.choice(["", "~"]) + dice.choice(claims)
        deadline_ms = dice.choice([0, 0, NOW + 500, NOW + 5_000])
        action = NewAction(f"x{dice.randrange(120)}", "a.b", tenant, claimed, b"{}", deadline_ms=deadline_ms)
        replies = [await put(world, way, action) for world, way in zip(worlds, ways, strict=True)]
        assert replies[0] == replies[1], (action, await worlds[0].redis.hgetall(worlds[0].key("registry")))
        told.add(str(replies[0])[:4])
    pictures = [await snapshot(redis, world.domain) for world in worlds]
    assert pictures[0] == pictures[1]
    assert len(told) >= 4
