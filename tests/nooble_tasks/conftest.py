"""A client of the queue, for the tests of clients and workers."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from nooble_tasks import BaseRedisClient
from tests.nooble_tasks.looking import Nooble
from tests.nooble_tasks.support import ProbeService, make_client


@pytest.fixture
async def client(redis: Redis) -> AsyncIterator[BaseRedisClient]:
    client = make_client(redis)
    yield client
    await client.close()


@pytest.fixture
async def probe() -> ProbeService:
    return ProbeService()


@pytest.fixture
def nooble(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Nooble:
    """Runs commands against the test's server."""
    monkeypatch.setenv("NOOBLE_REDIS_URL", redis_url)
    return Nooble(monkeypatch)
