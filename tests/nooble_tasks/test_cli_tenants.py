"""`nooble tenants` and `nooble tiers`: tables that fit, JSON, what is left out, names that are not there."""

from __future__ import annotations

import json
from typing import Any

import pytest
from redis.asyncio import Redis

from nooble_tasks import BaseRedisClient
from tests.nooble_tasks.looking import Nooble
from tests.nooble_tasks.support import DOMAIN, action


@pytest.fixture
async def crowd(redis: Redis, client: BaseRedisClient) -> BaseRedisClient:
    """`hog` is held with 40 waiting, 30 others have one to thirty waiting or running."""
    await client.enqueue_actions([action(tenant_id="hog", tenant_tier="free") for _ in range(50)])
    engine = client.bus.engine
    await engine.publish_policy(DOMAIN)
    await engine.extend(DOMAIN, "w1", register=True)
    assert len((await engine.claim(DOMAIN, "w1", 20)).actions) == 10
    await client.enqueue_actions([action(tenant_id=f"t{n:02}") for n in range(1, 31) for _ in range(n)])
    return client


@pytest.mark.parametrize("columns", [80, 120])
async def test_tables_that_fit(crowd: BaseRedisClient, nooble: Nooble, columns: int) -> None:
    done = await nooble("tenants", "--top", "3", columns=columns)
    assert done.code == 0
    assert done.text.startswith("probe: 3 of 31 tenants, most waiting first (--top shows more)")
    assert [row.split()[:3] for row in done.table] == [
        ["hog", "free", "40"],
        ["t30", "enterprise", "30"],
        ["t29", "enterprise", "29"],
    ]
    assert "10/minute, " in done.table[0]
    assert max(map(len, done.out.splitlines())) <= columns

    done = await nooble("tiers", columns=columns)
    assert done.code == 0
    assert [row.split()[1] for row in done.table] == ["enterprise", "professional", "advance", "free"]
    assert ("200/minute" in done.out) == (columns == 120)
    assert max(map(len, done.out.splitlines())) <= columns


async def test_json(crowd: BaseRedisClient, nooble: Nooble) -> None:
    told: dict[str, Any] = json.loads((await nooble("tenants", DOMAIN, "--held", "--json")).out)
    [probe] = told["domains"]
    assert (probe["total"], probe["looked_at"], probe["truncated"]) == (1, 1, False)
    [hog] = probe["rows"]
    assert (hog["tenant_id"], hog["waiting"], hog["running"], hog["held_why"]) == ("hog", 40, 10, "10/minute")
    assert hog["held_until_ms"] > probe["at_ms"] >= hog["oldest_ms"] > 0

    tiers = json.loads((await nooble("tiers", "--json")).out)["tiers"]
    assert [(each["tier"], each["rank"], each["ready"], each["held"], each["running"]) for each in tiers] == [
        ("enterprise", 1, 465, 0, 0),
        ("professional", 2, 0, 0, 0),
        ("advance", 3, 0, 0, 0),
        ("free", 4, 0, 40, 10),
    ]


@pytest.fixture
async def stopped(redis: Redis, client: BaseRedisClient) -> BaseRedisClient:
    """Tier free is over its own limit; all of `aside` in tier gold is of a paused type."""
    policy = 'default_tier = "free"\n[tiers.gold]\npriority = 1\n'
    policy += '[tiers.free]\npriority = 2\ntier_limits = ["2/minute"]\n'
    await client.bus.policies.join([DOMAIN], by="w1")
    await client.bus.policies.publish(policy, by="ana", why="a test")
    engine = client.bus.engine
    await engine.extend(DOMAIN, "w1", register=True)
    what = "type:probe.slow"
    await client.operator.pause(what, by="ana", why="the model is down", domains=[DOMAIN], unseen=True)
    slow = [action("slow", tenant_id="aside", tenant_tier="gold") for _ in range(3)]
    free = [action(tenant_id="acme", tenant_tier="free") for _ in range(4)]
    last = action(tenant_id="acme", tenant_tier="free", action_id="last")
    await client.enqueue_actions([*slow, *free, last])
    assert len((await engine.claim(DOMAIN, "w1", 8)).actions) == 2
    return client


@pytest.mark.parametrize("columns", [80, 120])
async def test_what_is_held_is_said(stopped: BaseRedisClient, nooble: Nooble, columns: int) -> None:
    done = await nooble("tenants", columns=columns)
    assert [row.split()[:3] for row in done.table if row[0] != " "] == [
        ["acme", "free", "3"],
        ["aside", "gold", "–"],
    ]
    assert "2/minute (tier), " in done.text
    assert "3 set aside: probe.slow paused" in done.text
    assert max(map(len, done.out.splitlines())) <= columns
    done = await nooble("tiers", columns=columns)
    assert "held now in probe: free, limit 2/minute of tier free is used up, until 20" in done.text
    done = await nooble("tenant", "show", "aside", columns=columns)
    assert "3 of aside's actions in probe, tier gold, are set aside: probe.slow paused" in done.text
    done = await nooble("limits", "acme", columns=columns)
    assert "acme is held in probe, tier free: 2/minute (tier), until 20" in done.text
    free = json.loads((await nooble("tiers", "--json")).out)["tiers"][1]
    assert (free["ready"], free["held"], free["running"]) == (0, 3, 2)
    done = await nooble("status", "--once", "--json")
    assert [each["held"] for each in json.loads(done.out)["domains"][0]["tiers"]] == [0, 3]
    done = await nooble("why", "last", columns=columns)
    assert "limit 2/minute of the whole tier is used up; it starts some time after 20" in done.text
    assert "probe, held" in done.text


async def test_that_nobody_works_is_said(redis: Redis, client: BaseRedisClient, nooble: Nooble) -> None:
    """Nor is a worker shown as running whose lease has ended."""
    await client.enqueue_action(action(tenant_id="acme"))
    engine = client.bus.engine
    await engine.publish_policy(DOMAIN)
    engine.lease_ms = -5_000
    await engine.extend(DOMAIN, "w1", register=True)
    assert "no worker serves probe" in (await nooble("tenants")).text
    assert "lease ended" in (await nooble("workers")).text
    told = json.loads((await nooble("status", "--json")).out)["domains"][0]
    assert (told["workers"], told["sleepers"]) == (0, 0)
    engine.lease_ms = 60_000
    await engine.extend(DOMAIN, "w2", register=True)
    assert "no worker serves" not in (await nooble("tenants")).text


async def test_orders_and_tiers(crowd: BaseRedisClient, nooble: Nooble) -> None:
    done = await nooble("tenants", "--tier", "enterprise", "--sort", "oldest", "-n", "1")
    assert "1 of 30 tenants, longest wait first" in done.text
    done = await nooble("tenants", "--sort", "running", "-n", "1")
    assert done.table[0].split()[:4] == ["hog", "free", "40", "10"]


async def test_where_nothing_is(nooble: Nooble) -> None:
    for command in ("tenants", "tiers"):
        done = await nooble(command)
        assert done.code == 0
        assert "Next step: start" in done.text
    done = await nooble("tenants", DOMAIN)
    assert (done.code, done.out) == (1, "")
    assert "there is no domain 'probe'; known are none" in done.err


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["tenants", "--tier", "fre"], 1, "did you mean 'free'?"),
        (["tenants", "No"], 1, "domain"),
        (["tenants", "--sort", "age"], 2, "age"),
        (["tenants", "--top", "0"], 2, "top"),
        (["tiers", "No"], 1, "domain"),
    ],
)
async def test_what_is_not_there(
    crowd: BaseRedisClient, nooble: Nooble, arguments: list[str], code: int, told: str
) -> None:
    done = await nooble(*arguments)
    assert (done.code, done.out) == (code, "")
    assert told in " ".join(done.err.split())
