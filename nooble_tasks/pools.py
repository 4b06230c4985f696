"""Where handlers run that must not run in the event loop: a worker's threads and processes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable

from .processes import ProcessPool
from .settings import CommonAppSettings
from .threads import ThreadPool


class Pools:
    """Made once per worker; nothing is started before it is needed."""

    def __init__(self, settings: CommonAppSettings) -> None:
        self.threads = ThreadPool(settings.handler_threads)
        self.processes = ProcessPool(settings.handler_processes or os.cpu_count() or 1)

    def on_freed(self, call: Callable[[], None]) -> None:
        """Call it in the loop when a thread or process is free again whose work had been given up."""
        self.threads.on_freed = call
        self.processes.on_freed(call)

    async def warm(self, modules: Iterable[str]) -> None:
        """Start the processes of handlers that live in `modules`, if there are any."""
        needed = sorted(set(modules))
        if needed:
            await self.processes.warm(needed)

    async def close(self) -> None:
        """End what was started; a thread that still runs a given-up handler is not waited for."""
        self.threads.close()
        await self.processes.close()
