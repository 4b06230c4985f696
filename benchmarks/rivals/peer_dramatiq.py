"""dramatiq."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .peer import Peer


class Rival(Peer):
    """dramatiq; its priorities order what a worker has fetched already, and there is no call for many."""

    package = "dramatiq"
    about = (
        "100 threads, plain actors (its asyncio middleware costs more per no-op), prefetch as installed, "
        "results in Redis; enqueued in a loop"
    )
    tuned = "heartbeat_timeout 3 s, maintenance at every second command"

    async def open(self) -> None:
        """Make broker and actor."""
        import dramatiq
        from dramatiq.brokers.redis import RedisBroker
        from dramatiq.results import Results
        from dramatiq.results.backends import RedisBackend

        tuned: dict[str, Any] = {"tuned": {"heartbeat_timeout": 3_000, "maintenance_chance": 500_000}}
        broker: Any = RedisBroker(url=self.order.url, **tuned.get(self.order.settings, {}))
        broker.add_middleware(Results(backend=RedisBackend(url=self.order.url)))
        dramatiq.set_broker(broker)

        @dramatiq.actor(store_results=True)
        def task(kind: str, text: str) -> dict[str, int]:
            return self.tasks.run_sync(kind, text)

        self._broker, self._task = broker, task

    async def send(self, kind: str, text: str) -> None:
        """Enqueue one action."""
        self._task.send(kind, text)

    async def send_many(self, kind: str, texts: Sequence[str], first_rank: int) -> None:
        """Enqueue one after another."""
        for text in texts:
            self._task.send(kind, text)

    async def call(self, kind: str, text: str) -> Any:
        """Enqueue, then wait for the result."""
        return self._task.send(kind, text).get_result(block=True, timeout=30_000)

    async def start(self) -> None:
        """Begin to work."""
        import dramatiq

        self._worker = dramatiq.Worker(self._broker, worker_threads=self.order.slots)
        self._worker.start()

    async def left(self, count: int) -> int:
        """A message is dropped once its result is stored."""
        return int(self._broker.client.hlen("dramatiq:default.msgs"))
