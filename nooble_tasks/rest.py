"""A worker's rest between two turns, and how it ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import Context, copy_context


class Rest:
    """Whoever has nothing to do waits here. `usual` does what there nearly always is to do when somebody says
    that there is something, and tells whether it did; only if not, the one who waits wakes up.
    """

    def __init__(self, usual: Callable[[], bool]) -> None:
        self._usual = usual
        self._ended = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None  # while somebody waits
        self._nudged = False
        self._context: Context | None = None

    async def wait(self, timeout_s: float | None = None) -> None:
        """Wait until there is something unusual to do, but not longer than this."""
        self._loop = asyncio.get_running_loop()
        self._context = copy_context()  # not that of an attempt whose end nudges
        try:
            await asyncio.wait_for(self._ended.wait(), timeout_s)
        except TimeoutError:
            pass
        finally:
            self._loop = None
        self._ended.clear()

    def end(self) -> None:
        """Something unusual is to be done."""
        self._ended.set()

    def nudge(self) -> None:
        """There is something to do. Whatever else says so in this round of the event loop is done with it."""
        if self._loop is None:
            self._ended.set()
        elif not self._nudged:
            self._nudged = True
            self._loop.call_soon(self._do_the_usual, context=self._context)

    def _do_the_usual(self) -> None:
        self._nudged = False
        woken = True
        try:
            woken = self._loop is None or not self._usual()
        finally:  # who waits meets the same error, where there is somebody to handle it
            if woken:
                self._ended.set()
