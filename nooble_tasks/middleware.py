"""Code around every action: in the client around the enqueue, in the worker around each attempt.

class TraceHeaders(ClientMiddleware):
    async def before_enqueue(self, action):
        return action.model_copy(update={"metadata": {**action.metadata, "traceparent": ...}})

async def timed(action, call_next):
    started = time.perf_counter()
    try:
        return await call_next(action)
    finally:
        log.info("%s took %.3f s", action.action_type, time.perf_counter() - started)

class ShopService(BaseService):
    middleware = (timed,)
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Protocol

from .actions import DomainAction

Handle = Callable[[DomainAction], Awaitable[Any]]
"""Handles one action; what it returns becomes the response's data."""


class WorkerMiddleware(Protocol):
    """Around an attempt, in its ExecutionContext: call `call_next(action)` once, or answer without it.

    What it raises is what the handler raised: `Retry`, `Reject` and `Snooze` work. Let CancelledError pass.
    """

    def __call__(self, action: DomainAction, call_next: Handle, /) -> Awaitable[Any]: ...


class ClientMiddleware:
    """Around an enqueue. A subclass overrides what it needs."""

    async def before_enqueue(self, action: DomainAction) -> DomainAction:
        """The action to send in its place; what this raises goes to the sender, and nothing is sent."""
        return action

    async def after_enqueue(self, action: DomainAction, error: Exception | None) -> None:
        """It is in line (also when an earlier one stood for it), or `error` kept it from that."""


async def after_enqueue(
    middleware: Sequence[ClientMiddleware], actions: Sequence[DomainAction], error: Exception | None
) -> None:
    """Tell all of them, the last one first."""
    for each in reversed(middleware):
        for action in actions:
            await each.after_enqueue(action, error)


def chained(middleware: Sequence[WorkerMiddleware], handle: Handle) -> Handle:
    """`handle` inside of `middleware`, the first one outermost."""
    for each in reversed(middleware):
        handle = partial(_pass, each, handle)
    return handle


def _pass(middleware: WorkerMiddleware, call_next: Handle, action: DomainAction) -> Awaitable[Any]:
    return middleware(action, call_next)
