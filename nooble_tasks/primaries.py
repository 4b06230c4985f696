"""Connections that leave a server which has become a replica.

After a failover by name (a managed Redis behind one DNS name) the old primary may live on as a replica and
keep its connections: every write on them is refused for as long as they stay. A new connection looks the name
up again. redis-py does so for Sentinel only.
"""

from __future__ import annotations

from typing import Any

import redis as redis_sync
import redis.asyncio as redis_asyncio
from redis.exceptions import ReadOnlyError


class _Leaving:
    """What was refused is raised as it is: it was not done, and may be done again."""

    async def read_response(self, *args: Any, **options: Any) -> Any:
        """The reply; a connection to a replica is closed, and opened anew by the next command."""
        connection: Any = super()
        try:
            return await connection.read_response(*args, **options)
        except ReadOnlyError:
            await connection.disconnect()
            raise


class PrimaryConnection(_Leaving, redis_asyncio.Connection):
    """To the server of that name that takes writes."""


class PrimarySSLConnection(_Leaving, redis_asyncio.SSLConnection):
    """The same over TLS."""


class _LeavingThreaded:
    def read_response(self, *args: Any, **options: Any) -> Any:
        """As without threads."""
        connection: Any = super()
        try:
            return connection.read_response(*args, **options)
        except ReadOnlyError:
            connection.disconnect()
            raise


class ThreadedPrimaryConnection(_LeavingThreaded, redis_sync.Connection):
    """For a thread."""


class ThreadedPrimarySSLConnection(_LeavingThreaded, redis_sync.SSLConnection):
    """The same over TLS."""
