"""A client for commands that talk to a running system."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nooble_tasks.client import BaseRedisClient
    from nooble_tasks.settings import CommonAppSettings

SERVICE_NAME = "nooble_cli"


@asynccontextmanager
async def connected(
    url: str | None = None,
    *,
    service_name: str = SERVICE_NAME,
    settings: CommonAppSettings | None = None,
) -> AsyncIterator[BaseRedisClient]:
    """A client of `url`, else of the configured server, else of the one this project's `nooble up` runs.

    `settings`: those of a service, to act as it would; None: those of this command.

    Raises EmbeddedServerError when there is none, QueueUnavailable when it does not answer.
    """
    from nooble_tasks.client import BaseRedisClient
    from nooble_tasks.embedded import resolve_redis_url
    from nooble_tasks.redis_manager import RedisManager
    from nooble_tasks.settings import CommonAppSettings

    settings = settings or CommonAppSettings(service_name=service_name)
    resolved = resolve_redis_url(url or settings.redis_url, start=False)
    settings = settings.replace(redis_url=resolved.url)
    async with RedisManager(settings) as manager:
        client = BaseRedisClient(settings.service_name, manager.get_client(), settings)
        await client.bus.ready()
        try:
            yield client
        finally:
            await client.close()
