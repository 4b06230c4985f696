"""`nooble limits`: tables, JSON, exit codes, a tenant nobody knows."""

from __future__ import annotations

import json
from typing import Any

import pytest
from redis.asyncio import Redis

from nooble_tasks import BaseRedisClient
from tests.nooble_tasks.looking import Nooble
from tests.nooble_tasks.support import DOMAIN, action


@pytest.fixture
async def used(redis: Redis, client: BaseRedisClient) -> BaseRedisClient:
    """The tenant `acme` of the free tier has started 10 of 12 actions and is held."""
    await client.enqueue_actions([action(tenant_tier="free") for _ in range(12)])
    engine = client.bus.engine
    await engine.publish_policy(DOMAIN)
    await engine.extend(DOMAIN, "w1", register=True)
    assert len((await engine.claim(DOMAIN, "w1", 20)).actions) == 10
    return client


@pytest.mark.parametrize("columns", [80, 120])
async def test_a_table_that_fits(used: BaseRedisClient, nooble: Nooble, columns: int) -> None:
    done = await nooble("limits", "acme", columns=columns)
    assert done.code == 0
    assert [row.split()[:3] for row in done.table] == [
        ["probe", "free", "10/minute"],
        ["probe", "free", "100/day"],
    ]
    assert ("moving-window" in done.out) == (columns == 120)
    assert "acme is held in probe, tier free: 10/minute, until 20" in done.text
    assert max(map(len, done.out.splitlines())) <= columns


async def test_json(used: BaseRedisClient, nooble: Nooble) -> None:
    done = await nooble("limits", "acme", "--json")
    told: dict[str, Any] = json.loads(done.out)
    assert told["tenant_id"] == "acme"
    [free] = told["limits"]
    assert {name: free[name] for name in ("domain", "tier", "running", "waiting", "held", "held_why")} == {
        "domain": DOMAIN,
        "tier": "free",
        "running": 10,
        "waiting": 2,
        "held": True,
        "held_why": "10/minute",
    }
    minute, day = free["limits"]
    assert (minute["used"], minute["remaining"], day["used"], day["remaining"]) == (10, 0, 10, 90)
    assert 0 < minute["more_at_ms"] - free["at_ms"] <= 60_001
    assert free["held_until_ms"] == minute["more_at_ms"]
    assert set(free["headers"]) == {"RateLimit-Policy", "RateLimit", "Retry-After"}


async def test_as_if_on_another_tier(used: BaseRedisClient, nooble: Nooble) -> None:
    done = await nooble("limits", "newcomer", "--domain", DOMAIN, "--tier", "professional", "--json")
    [status] = json.loads(done.out)["limits"]
    assert [limit["remaining"] for limit in status["limits"]] == [200, 10_000]
    none = await nooble("limits", "newcomer", "--domain", DOMAIN, "--tier", "enterprise")
    assert none.table[0].split() == [DOMAIN, "enterprise", "none"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["acmee"], "did you mean 'acme'?"),
        (["acme", "--tier", "fre"], "did you mean 'free'?"),
        (["a:b"], "tenant_id"),
        (["acme", "--domain", "No"], "domain"),
    ],
)
async def test_what_is_not_there(
    used: BaseRedisClient, nooble: Nooble, arguments: list[str], told: str
) -> None:
    done = await nooble("limits", *arguments)
    assert (done.code, done.out) == (1, "")
    assert told in " ".join(done.err.split())


async def test_a_registered_tenant_that_has_used_nothing(used: BaseRedisClient, nooble: Nooble) -> None:
    await used.bus.policies.join([DOMAIN], by="w1")
    await used.operator.register_tenant("newcomer", "professional", by="ana")
    done = await nooble("limits", "newcomer")
    assert done.code == 0, done.err
    assert done.table[0].split()[:3] == [DOMAIN, "professional", "200/minute"]


async def test_a_domain_that_is_not_there(used: BaseRedisClient, nooble: Nooble) -> None:
    done = await nooble("limits", "acme", "--domain", "prob")
    assert done.code == 1
    assert "there is no domain 'prob'; did you mean 'probe'" in " ".join(done.err.split())
