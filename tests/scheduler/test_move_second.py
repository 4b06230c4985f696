"""Two operators move a tenant at the same moment: the second is refused, and changes nothing."""

from __future__ import annotations

from typing import Any

import pytest

from scheduler import Registry, RegistryError
from scheduler.moving import begin
from tests.scheduler.test_move_ends import world
from tests.scheduler.world import World, some

__all__ = ["world"]


@pytest.mark.parametrize("registered", [None, "free"])
async def test_who_comes_second_by_a_hair_leaves_the_tenant_to_the_first(
    world: World, monkeypatch: pytest.MonkeyPatch, registered: str | None
) -> None:
    """Refused after the check has passed: the tier that the first one gave the tenant everywhere stays."""
    await world.redis.sadd(world.keys.shared("domains"), world.domain)
    await world.engine.publish_policy(world.domain)
    first, second = Registry(world.engine), Registry(world.engine)
    if registered:
        await first.register("acme", registered, by="ana")
    await world.enqueue(*some(9, tier="free"))
    shared = world.keys.shared("tenants")

    async def overtaken(*args: Any, **options: Any) -> Any:
        await begin(world.engine, [world.domain], "acme", "silver", by="bea", most=3)
        await world.redis.hset(shared, "acme", "silver")
        return await begin(*args, **options)

    monkeypatch.setattr("scheduler.moving.begin", overtaken)
    with pytest.raises(RegistryError, match="on its way to tier 'silver'"):
        await second.move("acme", "gold", by="ana", most=3)
    assert await world.redis.hget(shared, "acme") == b"silver"
