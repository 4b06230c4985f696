"""The service of the fault tests. It counts its runs on the server: the ledger knows what really ran."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import redis
from redis.exceptions import RedisError

from nooble_tasks import BaseService, CommonAppSettings, DomainAction, Reject, Retry, RetryPolicy, handles
from tests.faults import running

DOMAIN = "workshop"
RUNS = "faults:runs"
GATE = "faults:gate"
FEW = 3
"""How many actions of one tenant of tier `few` may run at once."""

POLICY = f"""
default_tier = "open"
[tiers.few]
priority = 1
max_concurrency = {FEW}
timeout = 120
[tiers.open]
priority = 2
timeout = 120
[tiers.narrow]
priority = 3
limits = ["40/second"]
timeout = 120
"""


class Workshop(BaseService):
    """Handlers that note that they run, then behave as their name says."""

    retry_policy = RetryPolicy(
        max_attempts=10, first_delay_s=0.05, max_delay_s=0.2, retry_on=(RedisError, OSError)
    )

    @handles("workshop.work")
    async def work(self, data: dict[str, Any], action: DomainAction) -> dict[str, Any]:
        """Take `takes_s` seconds, then answer with the number."""
        await self._note(action)
        if data.get("takes_s"):
            await asyncio.sleep(data["takes_s"])
        return {"number": data["number"]}

    @handles("workshop.watched")
    async def watched(self, data: dict[str, Any], action: DomainAction) -> dict[str, Any]:
        """As `work`, and say when it begins and ends (see `running.py`)."""
        await self._note(action)
        await running.started(
            self.direct_redis_conn, action.action_id, f"{action.tenant_id}:{action.tenant_tier}"
        )
        try:
            await asyncio.sleep(data.get("takes_s", 0))
            return {"number": data["number"]}
        finally:
            await running.ended(self.direct_redis_conn, action.action_id)

    @handles("workshop.wait")
    async def wait(self, data: dict[str, Any], action: DomainAction) -> dict[str, Any]:
        """Go on when the gate opens."""
        await self._note(action)
        while not await self.direct_redis_conn.exists(GATE):  # noqa: ASYNC110 - a server sets no event
            await asyncio.sleep(0.02)
        return {"number": data["number"]}

    @handles("workshop.block")
    async def block(self, data: dict[str, Any], action: DomainAction) -> dict[str, Any]:
        """Block the event loop, as a handler should not."""
        await self._note(action)
        time.sleep(data["takes_s"])  # noqa: ASYNC251
        return {"number": data["number"]}

    @handles("workshop.thread")
    def thread(self, data: dict[str, Any], action: DomainAction) -> dict[str, Any]:
        """Take `takes_s` seconds in a thread."""
        with redis.Redis.from_url(str(self.app_settings.redis_url)) as connection:
            connection.hincrby(RUNS, action.action_id, 1)
        time.sleep(data["takes_s"])
        return {"number": data["number"]}

    @handles("workshop.again")
    async def again(self, data: dict[str, Any], action: DomainAction) -> dict[str, Any]:
        """The first time it asks for another attempt."""
        if await self._note(action) == 1:
            raise Retry(0.1)
        return {"number": data["number"]}

    @handles("workshop.refuse")
    async def refuse(self, data: dict[str, Any], action: DomainAction) -> dict[str, Any]:
        """A dead letter until the gate opens."""
        await self._note(action)
        if not await self.direct_redis_conn.exists(GATE):
            raise Reject("the gate is closed")
        return {"number": data["number"]}

    async def _note(self, action: DomainAction) -> int:
        return int(await self.direct_redis_conn.hincrby(RUNS, action.action_id, 1))


def workshop_settings(url: str, policy_file: str, **values: Any) -> CommonAppSettings:
    """Settings of a worker or a client of the workshop."""
    return CommonAppSettings(
        service_name="workshop_service",
        domain_name=DOMAIN,
        redis_url=url,
        tiers_file=policy_file,
        **{"log_level": "ERROR", "lease_s": 1.0, "result_ttl_s": 3_600, **values},
    )
