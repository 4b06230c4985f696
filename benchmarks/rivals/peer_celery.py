"""Celery."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

from .peer import Peer, high

_TUNED_S = 15


class Rival(Peer):
    """Celery on its thread pool: with as many slots its process pool would be a hundred processes."""

    package = "celery"
    about = (
        "100 threads, prefetch 4 per thread, no gossip, mingle or heartbeat, JSON, results in Redis kept an "
        "hour; enqueued in a loop, as it has no call for many"
    )
    ranks = "priorities 0 and 9, priority order, prefetch 1: a tenant's first 10 at 0"
    tuned = (
        "acks_late, reject_on_worker_lost, prefetch 1, restored every second after a "
        f"visibility_timeout of {_TUNED_S} s"
    )

    async def open(self) -> None:
        """Make the application."""
        from celery import Celery

        address = self.order.url.replace("unix://", "redis+socket://", 1)
        app: Any = Celery("bench", broker=address, backend=address)
        app.set_default()  # as its own command does: threads of the pool would use an app without results
        app.conf.update(
            task_serializer="json",
            result_expires=3600,
            worker_hijack_root_logger=False,
            broker_connection_retry_on_startup=True,
        )
        if self.order.ranked:
            app.conf.update(
                worker_prefetch_multiplier=1,
                broker_transport_options={"queue_order_strategy": "priority", "priority_steps": [0, 9]},
            )
        if self.order.settings == "tuned":
            app.conf.update(
                task_acks_late=True,
                task_reject_on_worker_lost=True,
                worker_prefetch_multiplier=1,
                broker_transport_options={
                    "visibility_timeout": _TUNED_S,
                    "unacked_restore_interval": 1,
                    "unacked_restore_throttle": 1,
                },
            )

        @app.task(name="task")
        def task(kind: str, text: str) -> dict[str, int]:
            return self.tasks.run_sync(kind, text)

        self._app, self._task = app, task

    async def send(self, kind: str, text: str) -> None:
        """Enqueue one action."""
        self._task.delay(kind, text)

    async def send_many(self, kind: str, texts: Sequence[str], first_rank: int) -> None:
        """Enqueue one after another."""
        for number, text in enumerate(texts):
            rank = {"priority": 0 if high(first_rank + number) else 9} if self.order.ranked else {}
            self._task.apply_async((kind, text), **rank)

    async def call(self, kind: str, text: str) -> Any:
        """Enqueue, then wait by publish/subscribe."""
        return self._task.delay(kind, text).get(timeout=30)

    async def start(self) -> None:
        """Begin to work."""
        quiet = {"without_gossip": True, "without_mingle": True, "without_heartbeat": True}
        worker = self._app.WorkController(
            app=self._app,
            pool="threads",
            concurrency=self.order.slots,
            loglevel="ERROR",
            **(quiet if self.order.settings == "best" else {}),
        )
        threading.Thread(target=worker.start, daemon=True).start()

    async def left(self, count: int) -> int:
        """Messages are acknowledged before they run: so the results are counted."""
        redis = self._app.backend.client
        return count - sum(1 for _ in redis.scan_iter("celery-task-meta-*", count=10_000))
