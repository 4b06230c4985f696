"""taskiq with taskiq-redis."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from .peer import Peer


class Rival(Peer):
    """taskiq on RedisStreamBroker: its list broker loses what a killed worker held."""

    package = "taskiq-redis"
    about = (
        "RedisStreamBroker, 100 tasks at a time and 100 prefetched, 100 messages per read, parameters not "
        "parsed, ORJSON, results kept an hour, result poll 2 ms, uvloop; many are enqueued by gather of 100; "
        "the consumer group starts at 0, else what was sent before the first worker is skipped"
    )
    tuned = (
        "idle_timeout 3 s, xread_block 500 ms, lock timeout 5 s; it takes back only when new messages come, "
        "and here none do"
    )
    _running: Any

    async def open(self) -> None:
        """Connect."""
        from taskiq.serializers import ORJSONSerializer
        from taskiq_redis import RedisAsyncResultBackend, RedisStreamBroker

        url = self.order.url
        tuned: dict[str, Any] = {
            "tuned": {"idle_timeout": 3_000, "xread_block": 500, "unacknowledged_lock_timeout": 5.0}
        }
        results: Any = RedisAsyncResultBackend(redis_url=url, result_ex_time=3600)
        broker: Any = (
            RedisStreamBroker(url=url, consumer_id="0", **tuned.get(self.order.settings, {}))
            .with_result_backend(results)
            .with_serializer(ORJSONSerializer())
        )

        @broker.task(task_name="task")
        async def task(kind: str, text: str) -> dict[str, int]:
            return await self.tasks.run(kind, text)

        self._broker, self._task = broker, task
        await broker.startup()

    async def send(self, kind: str, text: str) -> None:
        """Enqueue one action."""
        await self._task.kiq(kind, text)

    async def send_many(self, kind: str, texts: Sequence[str], first_rank: int) -> None:
        """Enqueue all at once."""
        await asyncio.gather(*(self._task.kiq(kind, text) for text in texts))

    async def call(self, kind: str, text: str) -> Any:
        """Enqueue, then poll for the result."""
        task = await self._task.kiq(kind, text)
        return await task.wait_result(check_interval=0.002, timeout=30)

    async def start(self) -> None:
        """Begin to work."""
        from taskiq.api import run_receiver_task

        slots = self.order.slots
        best = {"validate_params": False, "max_prefetch": slots} if self.order.settings == "best" else {}
        self._running = asyncio.create_task(
            run_receiver_task(self._broker, max_async_tasks=slots, sync_workers=1, **best)
        )

    async def left(self, count: int) -> int:
        """A message is acknowledged once its result is stored."""
        from redis.asyncio import Redis

        async with Redis(connection_pool=self._broker.connection_pool) as redis:
            return int((await redis.xpending("taskiq", "taskiq"))["pending"])
