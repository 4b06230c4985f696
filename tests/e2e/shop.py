"""A small service for end-to-end tests. It keeps a book of its own: which attempts really ran."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
import time
from typing import Any

from pydantic_settings import SettingsConfigDict

from nooble_tasks import BaseService, CommonAppSettings, DomainAction, ExecutionContext, handles

RUNS = "e2e:runs"
GATE = "e2e:gate"


class ShopService(BaseService):
    """Domain `app` unless the settings say otherwise; the tests say `shop`."""

    @handles("shop.order.place")
    async def place(
        self, data: dict[str, Any], action: DomainAction, context: ExecutionContext
    ) -> dict[str, Any]:
        """Takes a moment."""
        await self._note(action, context)
        await asyncio.sleep(float(data.get("takes_s", 0.02)))
        return {"number": data["number"], "pid": os.getpid()}

    @handles("shop.order.wait")
    async def wait(self, action: DomainAction, context: ExecutionContext) -> int:
        """Goes on when the gate is open."""
        await self._note(action, context)
        while not await self.direct_redis_conn.exists(GATE):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        return context.attempt

    @handles("shop.order.parent")
    async def parent(self, action: DomainAction, context: ExecutionContext) -> None:
        """Sends, in its first attempt, a child that waits for the gate and one for much later; never ends."""
        await self._note(action, context)
        if context.attempt == 1:
            assert self.service_redis_client is not None
            for delay in (None, 3600):
                await self.service_redis_client.enqueue_action("shop.order.wait", delay=delay)
        await asyncio.Event().wait()

    @handles("shop.order.frozen")
    async def frozen(self) -> int:
        """How many objects the garbage collector of its process leaves alone."""
        return gc.get_freeze_count()

    @handles("shop.order.refuse")
    async def refuse(self) -> None:
        """Always fails, at once and for good."""
        raise RuntimeError("sold out") from None

    @handles("shop.order.crash")
    async def crash(self, action: DomainAction, context: ExecutionContext) -> None:
        """Takes its worker along."""
        await self._note(action, context)
        os.kill(os.getpid(), signal.SIGKILL)

    async def _note(self, action: DomainAction, context: ExecutionContext) -> None:
        # A clock that all processes of this machine share.
        at_s = time.monotonic()
        run = {"id": action.action_id, "attempt": context.attempt, "pid": os.getpid(), "at_s": at_s}
        await self.direct_redis_conn.rpush(RUNS, json.dumps(run))


class ShopSettings(CommonAppSettings):
    """Settings that only this service sees."""

    model_config = SettingsConfigDict(env_prefix="NOOBLE_SHOP_")


class OwnSettingsShop(ShopService):
    """The same shop; which server it uses is told to it alone."""

    settings_class = ShopSettings
