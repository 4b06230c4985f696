"""Operators' commands as an API: in force at the next claim, kept with who and why, harmless mistyped."""

from __future__ import annotations

from typing import Any

import pytest
from redis.asyncio import Redis

from nooble_tasks import (
    BaseRedisClient,
    Cause,
    InvalidId,
    PolicyError,
    QueueUnavailable,
    UnknownDomain,
    UnknownTenant,
    UnknownTier,
)
from tests.nooble_tasks.support import DOMAIN, ProbeService, action, connect, make_client, soon, working

BY: Any = {"by": "ana", "why": "incident 7"}


@pytest.fixture
async def sent(redis: Redis, client: BaseRedisClient) -> BaseRedisClient:
    """`acme` on free has 12 waiting, `zoe` on enterprise one; a worker is registered and asks for nothing."""
    engine = client.bus.engine
    await engine.publish_policy(DOMAIN)
    await engine.extend(DOMAIN, "w1", register=True)
    await client.enqueue_actions([action(action_id=f"a{n}", tenant_tier="free") for n in range(12)])
    await client.send_action_async(action(action_id="z0", tenant_id="zoe"))
    return client


async def claimed(client: BaseRedisClient, slots: int = 50) -> list[str]:
    claim = await client.bus.engine.claim(DOMAIN, "w1", slots)
    return sorted(each.action_id for each in claim.actions)


async def test_a_tenants_own_rules(sent: BaseRedisClient) -> None:
    assert await sent.operator.set_tenant("acme", limits=["3/minute"], max_concurrency=5, **BY) == [DOMAIN]
    assert len(await claimed(sent)) == 3 + 1
    status = await sent.inspector.limits("acme", DOMAIN, tier="free")
    assert [(limit.name, limit.remaining) for limit in status.limits] == [("3/minute", 0)]
    assert (status.max_concurrency, status.own_rules) == (5, True)
    [standing] = await sent.operator.tenant("acme")
    assert standing.override is not None
    assert (standing.override.by, standing.override.why) == ("ana", "incident 7")
    assert [tier.tier for tier in standing.tiers] == ["free"]
    assert await sent.operator.clear_tenant("acme", rules=["limits"], **BY) == [DOMAIN]
    assert len(await claimed(sent)) == 2  # five at once still, of its tier's ten per minute
    await sent.operator.clear_tenant("acme", **BY)
    assert len(await claimed(sent)) == 5
    did = [operation.did for _, operation in await sent.operator.operations()]
    assert did == [
        "clear override acme weight limits max_concurrency time_zone",
        "clear override acme limits",
        "override acme limits=3/minute max_concurrency=5",
    ]


async def test_pauses(sent: BaseRedisClient) -> None:
    await sent.operator.pause_tenant("acme", **BY)
    assert await claimed(sent) == ["z0"]
    told = await sent.inspector.why("a0")
    assert told.causes[0].cause is Cause.PAUSED
    assert "tenant acme was paused by ana at " in told.sentence
    assert ": incident 7;" in told.sentence
    assert [pause.what for pause in (await sent.operator.paused())[DOMAIN]] == ["tenant:acme"]
    assert await sent.operator.pause("tier:free", **BY) == [DOMAIN]
    assert await sent.operator.pause("tier:free", **BY) == []
    await sent.operator.resume_tenant("acme", **BY)
    assert await claimed(sent) == []
    assert await sent.operator.pause("domain", **BY) == [DOMAIN]
    assert await sent.operator.pause("type:probe.echo", **BY) == [DOMAIN]
    assert {pause.what for pause in (await sent.operator.paused())[DOMAIN]} == {
        "domain",
        "tier:free",
        "type:probe.echo",
    }
    for what in ("domain", "tier:free", "type:probe.echo"):
        assert await sent.operator.resume(what, **BY) == [DOMAIN]
        assert await sent.operator.resume(what, **BY) == []
    assert len(await claimed(sent)) == 10


async def test_a_sleeping_worker_starts_at_once(
    redis: Redis, client: BaseRedisClient, probe: ProbeService
) -> None:
    async with working(redis, probe):
        await client.operator.pause("domain", **BY)
        handle = await client.enqueue_action("probe.echo", 1, tenant_id="acme", tier="enterprise")
        assert (await handle.why()).causes[0].cause is Cause.PAUSED
        await client.operator.resume("domain", **BY)
        assert await soon(handle.result()) == 1


@pytest.mark.parametrize(
    ("verb", "arguments", "error", "told"),
    [
        ("pause_tenant", {"tenant_id": "acmee"}, UnknownTenant, "did you mean 'acme'"),
        ("resume_tenant", {"tenant_id": "nobody"}, UnknownTenant, "no trace of tenant 'nobody'"),
        ("set_tenant", {"tenant_id": "zo", "weight": 2}, UnknownTenant, "did you mean 'zoe'"),
        ("set_tenant", {"tenant_id": "acme", "weight": 0}, PolicyError, "weight"),
        ("set_tenant", {"tenant_id": "acme"}, PolicyError, "no rule given"),
        ("set_tenant", {"tenant_id": "acme", "limits": ["3/minut"]}, PolicyError, "limits"),
        ("set_tenant", {"tenant_id": "acme", "weight": 2, "by": ""}, PolicyError, "say who"),
        ("set_tenant", {"tenant_id": "a:b", "weight": 2}, InvalidId, "tenant_id"),
        ("clear_tenant", {"tenant_id": "acme", "rules": ["wieght"]}, PolicyError, "did you mean 'weight'"),
        ("pause_tenant", {"tenant_id": "acme", "domains": ["prob"]}, UnknownDomain, "did you mean 'probe'"),
        ("register_tenant", {"tenant_id": "acme", "tier": "fre"}, UnknownTier, "did you mean 'free'"),
        ("move_tenant", {"tenant_id": "acme", "tier": "fre"}, UnknownTier, "did you mean 'free'"),
        ("move_tenant", {"tenant_id": "acmee", "tier": "free"}, UnknownTenant, "did you mean 'acme'"),
        ("drain_tenant", {"tenant_id": "acmee"}, UnknownTenant, "did you mean 'acme'"),
        ("unregister_tenant", {"tenant_id": "acmee"}, UnknownTenant, "did you mean 'acme'"),
        (
            "register_tenant",
            {"tenant_id": "acme", "tier": "free", "domains": ["prob"]},
            UnknownDomain,
            "probe|none",
        ),
        ("pause", {"what": "tier:fre"}, UnknownTier, "did you mean 'free'"),
        ("pause", {"what": "type:echo"}, InvalidId, "action_type"),
        ("pause", {"what": "type:prob.echo"}, UnknownDomain, "did you mean 'probe'"),
        ("pause", {"what": "domain", "domains": ["prob"]}, UnknownDomain, "did you mean 'probe'"),
        ("pause", {"what": "day"}, ValueError, "none of 'domain'"),
        ("resume", {"what": "tier:fre"}, UnknownTier, "did you mean 'free'"),
    ],
)
async def test_a_typing_error_changes_nothing(
    redis: Redis,
    sent: BaseRedisClient,
    verb: str,
    arguments: dict[str, Any],
    error: type[Exception],
    told: str,
) -> None:
    async def everything() -> dict[bytes, Any]:
        return {key: await redis.dump(key) for key in await redis.keys()}

    before = await everything()
    with pytest.raises(error, match=told):
        await getattr(sent.operator, verb)(**{**BY, **arguments})
    assert await everything() == before


async def test_one_of_whom_something_is_scheduled_is_known(sent: BaseRedisClient) -> None:
    await sent.enqueue_action("probe.echo", tenant_id="later", tier="free", delay=60)
    assert await sent.operator.pause_tenant("later", **BY) == [DOMAIN]


async def test_one_that_has_left_no_trace_can_be_meant(sent: BaseRedisClient) -> None:
    assert await sent.operator.pause_tenant("newcomer", unseen=True, **BY) == [DOMAIN]
    await sent.send_action_async(action(action_id="n0", tenant_id="newcomer"))
    assert "n0" not in await claimed(sent)
    await sent.operator.resume_tenant("newcomer", **BY)
    assert "n0" in await claimed(sent)


async def test_without_a_server() -> None:
    nowhere = connect("redis://127.0.0.1:1/0")
    client = make_client(nowhere)
    with pytest.raises(QueueUnavailable):
        await client.operator.pause("domain", **BY)
    with pytest.raises(QueueUnavailable):
        await client.inspector.tiers(DOMAIN)
    await client.close()
    await nowhere.aclose()


async def test_a_tenant_moves_with_what_waits(sent: BaseRedisClient) -> None:
    await sent.bus.policies.join([DOMAIN], by="w1")
    await sent.enqueue_actions([action(action_id=f"b{n:04}", tenant_tier="free") for n in range(2_000)])
    told: list[tuple[int, int]] = []
    moved = await sent.operator.move_tenant(
        "acme", "enterprise", on_progress=lambda *each: told.append(each), **BY
    )
    assert moved == 2_012
    assert all(0 <= done <= total for done, total in told)
    order = []
    while some := (await sent.bus.engine.claim(DOMAIN, "w1", 500)).actions:
        order += [each.action_id for each in some if each.tenant_id == "acme"]
    assert order == [f"a{n}" for n in range(12)] + [f"b{n:04}" for n in range(2_000)]
    [standing] = await sent.operator.tenant("acme")
    assert standing.registration is not None
    assert standing.registration.tier == "enterprise"
    assert (await sent.inspector.limits("acme", DOMAIN)).tier == "enterprise"
