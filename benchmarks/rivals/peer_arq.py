"""arq."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlparse

from .peer import Peer

_TUNED_S = 5


class Rival(Peer):
    """arq; it has no priorities, and no call for many."""

    package = "arq"
    about = (
        "max_jobs 100, poll_delay 10 ms (0.5 s as installed), result poll 2 ms, results kept an hour, "
        "uvloop; many are enqueued by gather of 100"
    )
    tuned = f"job_timeout {_TUNED_S} s"
    _pool: Any
    _running: Any

    async def open(self) -> None:
        """Connect."""
        from arq import create_pool
        from arq.connections import RedisSettings

        parsed = urlparse(self.order.url)
        self._where = (
            RedisSettings(unix_socket_path=parsed.path)
            if parsed.scheme == "unix"
            else RedisSettings.from_dsn(self.order.url)
        )
        self._pool = await create_pool(self._where)

    async def send(self, kind: str, text: str) -> None:
        """Enqueue one action."""
        await self._pool.enqueue_job("task", kind, text)

    async def send_many(self, kind: str, texts: Sequence[str], first_rank: int) -> None:
        """Enqueue all at once."""
        await asyncio.gather(*(self._pool.enqueue_job("task", kind, text) for text in texts))

    async def call(self, kind: str, text: str) -> Any:
        """Enqueue, then poll for the result."""
        job = await self._pool.enqueue_job("task", kind, text)
        return await job.result(timeout=30, poll_delay=0.002)

    async def start(self) -> None:
        """Begin to work."""
        from arq.worker import Worker, func

        async def task(ctx: Any, kind: str, text: str) -> dict[str, int]:
            return await self.tasks.run(kind, text)

        settings: dict[str, Any] = {"best": {"poll_delay": 0.01}, "tuned": {"job_timeout": _TUNED_S}}
        worker = Worker(
            functions=[func(task, name="task", keep_result=3600)],
            redis_settings=self._where,
            max_jobs=self.order.slots,
            handle_signals=False,
            **settings.get(self.order.settings, {}),
        )
        self._running = asyncio.create_task(worker.async_run())

    async def left(self, count: int) -> int:
        """A job leaves the queue in the transaction that stores its result."""
        return int(await self._pool.zcard("arq:queue"))
