"""A client of the queue, for the tests of clients and workers."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from nooble_tasks import BaseRedisClient
from tests.nooble_tasks.support import ProbeService, make_client


@pytest.fixture
async def client(redis: Redis) -> AsyncIterator[BaseRedisClient]:
    client = make_client(redis)
    yield client
    await client.close()


@pytest.fixture
async def probe() -> ProbeService:
    return ProbeService()
