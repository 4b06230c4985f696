"""streaQ."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Any

from .peer import Peer, high


class Rival(Peer):
    """streaQ."""

    package = "streaq"
    about = (
        "concurrency and prefetch 100 (a slot never waits for a read), silent tasks (a log line costs more "
        "than a no-op), results kept 300 s, uvloop; many are enqueued by enqueue_many, 100 per call, two "
        "calls under way"
    )
    ranks = "two priorities: a tenant's first 10 on the high one"
    tuned = "idle_timeout 3 s"
    lists_at_once = 2
    _running: Any

    async def open(self) -> None:
        """Make the worker, which is its client too."""
        from streaq import Worker

        settings: dict[str, Any] = {"best": {"prefetch": self.order.slots}, "tuned": {"idle_timeout": 3}}
        levels = {"priorities": ["low", "high"]} if self.order.ranked else {}
        worker: Any = Worker(
            redis_url=self.order.url,
            concurrency=self.order.slots,
            handle_signals=False,
            **settings.get(self.order.settings, {}),
            **levels,
        )

        @worker.task(ttl=300, silent=True)
        async def task(kind: str, text: str) -> dict[str, int]:
            return await self.tasks.run(kind, text)

        self._worker, self._task = worker, task
        self._client = AsyncExitStack()
        await self._client.enter_async_context(worker)

    async def send(self, kind: str, text: str) -> None:
        """Enqueue one action."""
        await self._task.enqueue(kind, text)

    async def send_many(self, kind: str, texts: Sequence[str], first_rank: int) -> None:
        """Enqueue all in one pipeline."""
        tasks = [self._task.enqueue(kind, text) for text in texts]
        if self.order.ranked:
            tasks = [
                task.start(priority="high" if high(first_rank + n) else "low") for n, task in enumerate(tasks)
            ]
        await self._worker.enqueue_many(tasks)

    async def call(self, kind: str, text: str) -> Any:
        """Enqueue, then wait by publish/subscribe."""
        task = await self._task.enqueue(kind, text)
        return await task.result(30)

    async def start(self) -> None:
        """Begin to work; a worker connects by itself."""
        await self._client.aclose()
        self._running = asyncio.create_task(self._worker.run_async())

    async def left(self, count: int) -> int:
        """An index of results is written in the transaction that stores them."""
        return count - int(await self._worker.redis.zcard("streaq:default:index:results"))
