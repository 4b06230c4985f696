"""A client for commands that talk to a running system."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from .console import warn

if TYPE_CHECKING:
    from nooble_tasks.client import BaseRedisClient
    from nooble_tasks.settings import CommonAppSettings

SERVICE_NAME = "nooble_cli"
_AGAIN_S = 1.0


@asynccontextmanager
async def connected(
    url: str | None = None,
    *,
    service_name: str = SERVICE_NAME,
    settings: CommonAppSettings | None = None,
    wait: bool = False,
) -> AsyncIterator[BaseRedisClient]:
    """A client of `url`, else of the configured server, else of the one this project's `nooble up` runs.

    `settings`: those of a service, to act as it would; None: those of this command. `wait`: for a server that
    does not answer yet.

    Raises EmbeddedServerError when there is none, QueueUnavailable when it does not answer.
    """
    from redis.exceptions import AuthenticationError, NoPermissionError

    from nooble_tasks.client import BaseRedisClient
    from nooble_tasks.embedded import resolve_redis_url
    from nooble_tasks.errors import QueueUnavailable
    from nooble_tasks.redis_manager import RedisManager
    from nooble_tasks.settings import CommonAppSettings

    settings = settings or CommonAppSettings(service_name=service_name)
    resolved = resolve_redis_url(url or settings.redis_url, start=False)
    settings = settings.replace(redis_url=resolved.url)
    manager = RedisManager(settings)
    while wait:
        try:
            await manager.initialize()
            break
        except QueueUnavailable as error:
            if isinstance(error.__cause__, AuthenticationError | NoPermissionError):
                raise
            warn(f"{error}; again in {_AGAIN_S:.0f} s")
            await asyncio.sleep(_AGAIN_S)
    async with manager:
        client = BaseRedisClient(settings.service_name, manager.get_client(), settings)
        await client.bus.ready()
        try:
            yield client
        finally:
            await client.close()
