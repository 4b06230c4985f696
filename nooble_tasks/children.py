"""What a handler has sent: when its action is cancelled, what is not over of that is cancelled with it.

Kept by the attempt, in memory and bounded; a child that runs does the same for its own.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import Any, NamedTuple

from redis.exceptions import RedisError

from ._engine import Engine, SchedulerError
from .actions import DomainAction, DomainActionResponse
from .error_mapping import detail_from_exception
from .errors import ActionCancelled

_log = logging.getLogger(__name__)

MOST_KEPT = 10_000
"""Children of one attempt; of more, the newest are kept."""


class Child(NamedTuple):
    """A sent action, as far as its cancellation needs it."""

    domain: str
    action_id: str
    action_type: str
    tenant_id: str
    correlation_id: str | None
    trace_id: str | None

    @classmethod
    def of(cls, domain: str, action: DomainAction) -> Child:
        return cls(
            domain,
            action.action_id,
            action.action_type,
            action.tenant_id,
            action.correlation_id,
            action.trace_id,
        )

    def response(self) -> bytes:
        """What whoever waits for it is told."""
        error = detail_from_exception(
            ActionCancelled("the action that sent it was cancelled", action_id=self.action_id)
        )
        address: dict[str, Any] = {name: value for name, value in self._asdict().items() if name != "domain"}
        return DomainActionResponse(success=False, error=error, **address).to_json()


class ChildrenCanceller:
    """Cancels the children of cancelled attempts, apart from the worker's turns."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._tasks: set[asyncio.Task[None]] = set()

    def cancel(self, children: Iterable[Child]) -> None:
        """Begin; errors of Redis are logged, the children then run on."""
        task = asyncio.create_task(self._cancel(list(children)), name="nooble-cancel-children")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def settle(self) -> None:
        """Wait for what has begun."""
        while self._tasks:
            await asyncio.wait(set(self._tasks))

    async def _cancel(self, children: list[Child]) -> None:
        by_domain: dict[str, list[tuple[str, bytes]]] = {}
        for child in children:
            by_domain.setdefault(child.domain, []).append((child.action_id, child.response()))
        for domain, items in by_domain.items():
            try:
                await self._engine.cancel(domain, items)
            except (RedisError, OSError, SchedulerError) as error:
                _log.warning("cancelling %d nested actions in %s: %s", len(items), domain, error)
