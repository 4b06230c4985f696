"""Where handlers run that must not run in the event loop: a worker's threads and processes."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from .processes import ProcessPool
from .settings import CommonAppSettings
from .threads import ThreadPool

if TYPE_CHECKING:
    from .service import BaseService


class Pools:
    """Made once per worker; nothing is started before it is needed."""

    def __init__(self, settings: CommonAppSettings) -> None:
        self.threads = ThreadPool(settings.handler_threads)
        self.processes = ProcessPool(settings.handler_processes or os.cpu_count() or 1)

    def most_at_once(self, services: Iterable[BaseService]) -> float:
        """How many actions of these services can run at once in this process, however many slots it has."""
        most, of_pool = 0.0, {"thread": 0.0, "process": 0.0}
        for service in services:
            if service.only_handles() is None:
                return math.inf
            for options in service.all_options().values():
                limit = math.inf if options.concurrency is None else options.concurrency
                if options.run_in in of_pool:
                    of_pool[options.run_in] += limit
                else:
                    most += limit
        most += min(of_pool["thread"], self.threads.size) + min(of_pool["process"], self.processes.size)
        return most or math.inf

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
