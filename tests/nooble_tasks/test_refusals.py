"""What a sender is told when the queue refuses an action."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from nooble_tasks import (
    BacklogFull,
    BaseRedisClient,
    ExecutionContext,
    RateLimited,
    TenantDraining,
    TierNotAllowed,
    UnknownTier,
    use_context,
)
from tests.nooble_tasks.support import ProbeService, action, make_client, working

SHIPPED = Path(__file__).parents[2] / "config" / "tiers.toml"


@pytest.fixture
async def strict(redis: Redis) -> AsyncIterator[BaseRedisClient]:
    """A client under the shipped policy: claims of unregistered tenants are not believed."""
    client = make_client(redis, tiers_file=SHIPPED)
    yield client
    await client.close()


async def test_a_newcomer_is_told_what_to_do(strict: BaseRedisClient) -> None:
    with pytest.raises(TierNotAllowed) as caught:
        await strict.enqueue_action("probe.echo", tenant_id="acme", tier="enterprise")
    assert str(caught.value) == (
        "tenant 'acme' is not registered, so it has the default tier 'free' and cannot claim 'enterprise'; "
        "leave the tier out, or register it for 'enterprise' "
        "(`nooble tenant register acme --tier enterprise`)"
    )
    assert caught.value.details["allowed_tier"] == "free"
    handle = await strict.enqueue_action("probe.echo", tenant_id="acme")
    assert handle.tier == "free"
    await strict.bus.registry.register("acme", "enterprise", by="ana", why="contract 17")
    assert (await strict.enqueue_action("probe.echo", tenant_id="acme")).tier == "enterprise"
    assert (await strict.enqueue_action("probe.echo", tenant_id="acme", tier="free")).tier == "free"


async def test_a_registered_tenant_claims_a_better_tier(strict: BaseRedisClient) -> None:
    await strict.bus.registry.register("acme", "advance", by="ana")
    with pytest.raises(TierNotAllowed, match="is registered for tier 'advance' and cannot claim"):
        await strict.send_action_async(action(tenant_tier="professional"))


async def test_each_of_a_batch_is_told_by_itself(strict: BaseRedisClient) -> None:
    good, bad = action(tenant_tier=None), action(tenant_tier="enterprise")
    handles = await strict.enqueue_actions([good, bad, action(tenant_tier="fre")])
    assert [handle.accepted for handle in handles] == [True, False, False]
    assert [type(handle.refused) for handle in handles] == [type(None), TierNotAllowed, UnknownTier]
    with pytest.raises(TierNotAllowed):
        await handles[1].result()
    assert await strict.bus.redis.hkeys("nooble:probe:actions") == [good.action_id.encode()]


async def test_a_draining_tenant(strict: BaseRedisClient) -> None:
    await strict.bus.registry.drain("acme", by="ana", why="unpaid")
    with pytest.raises(TenantDraining, match="until an operator resumes it") as caught:
        await strict.request(action(tenant_tier=None))
    assert caught.value.retryable
    response = await strict.send_action_pseudo_sync(action(tenant_tier=None))
    assert response is not None
    assert response.error is not None
    assert response.error.code == "tenant_draining"
    assert response.error.retryable
    await strict.bus.registry.resume("acme", by="ana")
    assert (await strict.enqueue_action("probe.echo", tenant_id="acme")).accepted


async def test_an_inherited_tier_is_cut_down_instead_of_refused(
    strict: BaseRedisClient, probe: ProbeService
) -> None:
    registry = strict.bus.registry
    await registry.register("acme", "enterprise", by="ana")
    async with working(strict.bus.redis, probe, settings=strict.settings):
        outer = await strict.enqueue_action("probe.wait", tenant_id="acme")
        running = await probe.next_started()
        assert running.tenant_tier == "enterprise"
        await registry.register("acme", "free", by="ana")
        nested = running.model_copy(update={"action_id": "nested", "tenant_tier": None})
        with pytest.raises(TierNotAllowed):
            await strict.enqueue_action("probe.echo", tenant_id="acme", tier="enterprise")
        with use_context(ExecutionContext.from_action(running)):
            assert (await strict.enqueue_action(nested)).tier == "free"
        probe.gate.set()
        await outer.result(10)


async def test_a_full_backlog_and_a_used_up_limit(redis: Redis, tmp_path: Path) -> None:
    tiers = tmp_path / "tiers.toml"
    rules = 'limits = ["2/minute"]\nover_limit = "refuse"\n[tiers.low]\npriority = 2\nmax_backlog = 1\n'
    tiers.write_text('default_tier = "high"\n[tiers.high]\npriority = 1\n' + rules)
    client = make_client(redis, tiers_file=tiers)
    await client.enqueue_actions([action(tenant_tier="high") for _ in range(2)])
    with pytest.raises(RateLimited, match=r"limit 2/minute; nothing was enqueued, try again in") as limited:
        await client.request(action(tenant_tier="high"))
    assert 0 < limited.value.retry_after_s <= 60
    await client.send_action_async(action(tenant_tier="low"))
    with pytest.raises(BacklogFull, match="1 actions of tenant 'acme' wait") as full:
        await client.send_action_async(action(tenant_tier="low"))
    assert full.value.retryable
    assert (full.value.details["amount"], full.value.details["most"]) == (1, 1)
    await client.close()
