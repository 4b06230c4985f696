"""Which event loop runs a command."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from enum import StrEnum
from typing import Any, TypeVar

from nooble_tasks.errors import ConfigurationError

T = TypeVar("T")


class LoopKind(StrEnum):
    """`--loop`."""

    AUTO = "auto"
    ASYNCIO = "asyncio"
    UVLOOP = "uvloop"


def run_async(main: Coroutine[Any, Any, T], kind: LoopKind = LoopKind.ASYNCIO) -> T:
    """Run to the end; Ctrl-C cancels `main` and is raised as KeyboardInterrupt."""
    with asyncio.Runner(loop_factory=_factory(kind)) as runner:
        return runner.run(main)


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
