"""The client behind the module function `enqueue_action`: made from the settings at the first call."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Any

from .actions import DomainAction
from .client import BaseRedisClient
from .handle import ActionHandle
from .redis_manager import RedisManager
from .settings import CommonAppSettings

_made: tuple[asyncio.AbstractEventLoop, RedisManager, BaseRedisClient] | None = None


async def get_default_client() -> BaseRedisClient:
    """This process's client, from the settings (`NOOBLE_REDIS_URL` and so on). One per event loop."""
    global _made
    loop = asyncio.get_running_loop()
    if _made is None or _made[0] is not loop:
        settings = CommonAppSettings()
        manager = RedisManager(settings)
        client = BaseRedisClient(settings.service_name, await manager.get_redis_connection(), settings)
        _made = (loop, manager, client)
    return _made[2]


async def close_default_client() -> None:
    """Close it and its connections, where there is one."""
    global _made
    made, _made = _made, None
    if made is not None:
        _, manager, client = made
        await client.close()
        await manager.close()


async def enqueue_action(
    action: DomainAction | str,
    data: Any = None,
    *,
    tenant_id: str | None = None,
    tier: str | None = None,
    delay: float | timedelta | None = None,
    run_at: datetime | None = None,
    deadline: datetime | float | timedelta | None = None,
    **options: Any,
) -> ActionHandle:
    """Put an action in line, through this process's default client. See `BaseRedisClient.enqueue_action`."""
    client = await get_default_client()
    return await client.enqueue_action(
        action,
        data,
        tenant_id=tenant_id,
        tier=tier,
        delay=delay,
        run_at=run_at,
        deadline=deadline,
        **options,
    )
