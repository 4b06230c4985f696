"""A bounded pool of threads whose work can be given up: nobody waits for a thread that goes on.

The standard library's pool joins its threads when the interpreter ends, so one stuck handler would keep a
stopped worker from ending. These are daemons.
"""

from __future__ import annotations

import asyncio
import contextvars
import queue
import threading
from collections.abc import Callable
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class _Job(Generic[T]):
    __slots__ = ("call", "context", "future", "lingers", "loop")

    def __init__(self, call: Callable[[], T], loop: asyncio.AbstractEventLoop) -> None:
        self.call = call
        self.context = contextvars.copy_context()
        self.loop = loop
        self.future: asyncio.Future[T] = loop.create_future()
        self.lingers = False


class ThreadPool:
    """At most `size` threads, started when needed. `lingering`: those whose work was given up and still runs.
    `admitted`: how many actions a worker let in, kept by its anterooms.

    `on_freed` is called in the loop when one of the latter has ended after all.
    """

    def __init__(self, size: int, name: str = "handler") -> None:
        self.size = size
        self.admitted = 0
        self.lingering = 0
        self.on_freed: Callable[[], None] = lambda: None
        self._name = name
        self._jobs: queue.SimpleQueue[_Job[Any] | None] = queue.SimpleQueue()
        self._idle = threading.Semaphore(0)
        self._threads = 0

    async def run(self, call: Callable[[], T]) -> T:
        """Call it in a thread, with this task's context. A cancellation returns at once; the call goes on."""
        job = _Job(call, asyncio.get_running_loop())
        self._jobs.put(job)
        if not self._idle.acquire(blocking=False) and self._threads < self.size:
            self._threads += 1
            name = f"nooble-{self._name}-{self._threads}"
            serving = (self._jobs, self._idle)
            threading.Thread(target=self._serve, args=serving, name=name, daemon=True).start()
        try:
            return await job.future
        except asyncio.CancelledError:
            if job.future.cancelled():
                job.lingers = True
                self.lingering += 1
            raise

    def close(self) -> None:
        """Let the threads end when they have nothing to do; none is waited for. It may be used again."""
        for _ in range(self._threads):
            self._jobs.put(None)
        self._jobs, self._idle, self._threads = queue.SimpleQueue(), threading.Semaphore(0), 0

    def _serve(self, jobs: queue.SimpleQueue[_Job[Any] | None], idle: threading.Semaphore) -> None:
        while (job := jobs.get()) is not None:
            self._work(job)
            del job  # its result must not live until the next one comes
            idle.release()

    def _work(self, job: _Job[Any]) -> None:
        result, error = None, None
        try:
            if not job.future.cancelled():
                result = job.context.run(job.call)
        except BaseException as raised:  # SystemExit too: the thread is the pool's
            error = raised
        try:
            job.loop.call_soon_threadsafe(self._over, job, result, error)
        except RuntimeError:  # the loop was closed meanwhile; nobody waits any more
            pass

    def _over(self, job: _Job[Any], result: Any, error: BaseException | None) -> None:
        if job.lingers:
            self.lingering -= 1
            self.on_freed()
        if job.future.done():
            return
        if error is None:
            job.future.set_result(result)
        elif isinstance(error, StopIteration):  # a future cannot carry it
            job.future.set_exception(RuntimeError(f"the call raised {error!r}"))
        else:
            job.future.set_exception(error)
