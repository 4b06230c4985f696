"""Which event loop runs a command."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from enum import StrEnum
from typing import Any, TypeVar

from nooble_tasks.errors import ConfigurationError

T = TypeVar("T")

_INSIST_S = 5.0
"""On Python 3.11 a cancellation can get lost (see maintenance.end_task); this is long enough to clean up."""


class LoopKind(StrEnum):
    """`--loop`."""

    AUTO = "auto"
    ASYNCIO = "asyncio"
    UVLOOP = "uvloop"


def run_async(main: Coroutine[Any, Any, T], kind: LoopKind = LoopKind.ASYNCIO) -> T:
    """Run to the end; Ctrl-C cancels `main` and is raised as KeyboardInterrupt."""
    with asyncio.Runner(loop_factory=_factory(kind)) as runner:
        return runner.run(_insisting(main))


async def _insisting(main: Coroutine[Any, Any, T]) -> T:
    """Cancelled means cancelled, also where the first time was in vain."""
    task = asyncio.ensure_future(main)
    try:
        await asyncio.wait((task,))
    except asyncio.CancelledError:
        while not task.done():
            task.cancel()
            await asyncio.wait((task,), timeout=_INSIST_S)
        if task.cancelled():
            raise
    return task.result()


def _factory(kind: LoopKind) -> Any:
    if kind is LoopKind.ASYNCIO:
        return None
    try:
        import uvloop
    except ImportError:
        if kind is LoopKind.AUTO:
            return None
        raise ConfigurationError(
            "uvloop is not installed; `pip install 'nooble-tasks[speed]'`, or use --loop auto"
        ) from None
    return uvloop.new_event_loop
