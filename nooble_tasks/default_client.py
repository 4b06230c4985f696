"""The client behind the module function `enqueue_action`: made from the settings at the first call."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Any

from .actions import DomainAction
from .client import BaseRedisClient
from .embedded import resolve_redis_url
from .handle import ActionHandle
from .redis_manager import RedisManager
from .settings import CommonAppSettings

_made: tuple[asyncio.AbstractEventLoop, RedisManager, BaseRedisClient] | None = None


async def get_default_client() -> BaseRedisClient:
    """This process's client, one per event loop.

    It talks to the server of the settings (`NOOBLE_REDIS_URL`), else to the one that this folder's
    `nooble up` runs. Raises EmbeddedServerError when there is neither.
    """
    global _made
    loop = asyncio.get_running_loop()
    if _made is None or _made[0] is not loop:
        settings = CommonAppSettings()
        settings = settings.replace(redis_url=resolve_redis_url(settings.redis_url, start=False).url)
        manager = RedisManager(settings)
        redis = await manager.get_redis_connection()
        if _made is not None and _made[0] is loop:  # somebody else was faster
            await manager.close()
        else:
            _made = (loop, manager, BaseRedisClient(settings.service_name, redis, settings))
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
