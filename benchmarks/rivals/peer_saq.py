"""SAQ."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from .peer import Peer


class Rival(Peer):
    """SAQ; priorities need its Postgres queue, and there is no call for many."""

    package = "saq"
    about = (
        "concurrency 100 (a connection each), JSON, results kept 600 s, result poll 2 ms (its wait by "
        "publish/subscribe can miss the end of a job), uvloop; many are enqueued by gather of 100"
    )
    tuned = "job timeout 5 s, 3 retries, sweep every second"
    _queue: Any
    _running: Any

    async def open(self) -> None:
        """Connect."""
        from redis.asyncio import Redis
        from saq.queue.redis import RedisQueue

        self._queue = RedisQueue(Redis.from_url(self.order.url))
        await self._queue.connect()
        self._options: dict[str, Any] = {"tuned": {"timeout": 5, "retries": 3}}.get(self.order.settings, {})

    async def send(self, kind: str, text: str) -> None:
        """Enqueue one action."""
        await self._queue.enqueue("task", kind=kind, text=text, **self._options)

    async def send_many(self, kind: str, texts: Sequence[str], first_rank: int) -> None:
        """Enqueue all at once."""
        await asyncio.gather(*(self.send(kind, text) for text in texts))

    async def call(self, kind: str, text: str) -> Any:
        """Enqueue, then poll for the result."""
        return await self._queue.apply("task", poll_interval=0.002, kind=kind, text=text)

    async def start(self) -> None:
        """Begin to work."""
        from saq import Worker

        async def task(ctx: Any, *, kind: str, text: str) -> dict[str, int]:
            return await self.tasks.run(kind, text)

        settings: dict[str, Any] = {"tuned": {"timers": {"sweep": 1}}}
        worker: Any = Worker(
            self._queue,
            functions=[("task", task)],
            concurrency=self.order.slots,
            **settings.get(self.order.settings, {}),
        )
        self._running = asyncio.create_task(worker.start())

    async def left(self, count: int) -> int:
        """A job leaves the incomplete ones in the transaction that stores its result."""
        return int(await self._queue.count("incomplete"))
