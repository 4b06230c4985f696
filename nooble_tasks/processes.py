"""Processes for handlers that keep a core busy. Each runs one call at a time and can be killed alone.

The standard library's pool is broken by the death of one process and cannot stop a running call, so this one
owns its processes: a pipe each, no process is shared, and killing one is how a call is stopped.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import pickle
import sys
from collections.abc import Callable, Sequence
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

from .delivery_errors import HandlerProcessDied
from .process_child import Call, serve
from .threads import ThreadPool

_METHOD = "spawn" if sys.platform == "win32" else "forkserver"  # fork would copy threads' locks and sockets
_JOIN_S = 5.0


class _Process:
    """One process and our end of its pipe. Its methods block: they are called in a thread."""

    def __init__(self) -> None:
        self._process: Any = None
        self._pipe: Connection | None = None
        self._killed = False

    def call(self, request: bytes) -> Any:
        """The reply to one request; EOFError or OSError when the process died."""
        if self._process is None:
            self._start()
        assert self._pipe is not None
        self._pipe.send_bytes(request)
        return pickle.loads(self._pipe.recv_bytes())

    @property
    def exit_code(self) -> int | None:
        if self._process is None:
            return None
        self._process.join(_JOIN_S)
        code: int | None = self._process.exitcode
        return code

    def kill(self) -> None:
        """End it now, whatever it does."""
        self._killed = True
        if self._process is not None:
            self._process.kill()

    def end(self) -> None:
        """Let it end: an idle process ends when its pipe closes."""
        if self._pipe is not None:
            self._pipe.close()
        if self._process is not None:
            self._process.join(_JOIN_S)
            self._process.kill()
            self._process.join(_JOIN_S)
            self._process.close()
            self._process = None

    def _start(self) -> None:
        context = multiprocessing.get_context(_METHOD)
        ours, theirs = context.Pipe()
        with theirs:
            process = context.Process(target=serve, args=(theirs,), name="nooble-handler", daemon=True)  # type: ignore[attr-defined]
            process.start()
        self._process, self._pipe = process, ours
        if self._killed:
            process.kill()


class ProcessPool:
    """At most `size` processes, kept between calls. `admitted`: how many actions a worker let in."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.admitted = 0
        self._threads = ThreadPool(size, "pipe")
        self._free: list[_Process] = []
        self._busy: set[_Process] = set()

    @property
    def lingering(self) -> int:
        """Processes that were killed and are not cleaned up yet."""
        return self._threads.lingering

    def on_freed(self, call: Callable[[], None]) -> None:
        """Call it in the loop when one of those is cleaned up."""
        self._threads.on_freed = call

    async def warm(self, modules: Sequence[str]) -> None:
        """Start every process and let it import `modules`, so that no action waits for that."""
        await asyncio.gather(*(self._run(("import", tuple(modules))) for _ in range(self.size)))

    async def run(self, call: Call) -> Any:
        """Run a handler elsewhere; its result as plain values. Raises what it raised, or HandlerProcessDied.

        A cancellation kills the process, and no other one.
        """
        return await self._run(("call", call))

    async def close(self) -> None:
        """End all processes."""
        for process in self._busy:
            process.kill()
        free, self._free = self._free, []
        for process in free:
            await asyncio.to_thread(process.end)
        self._threads.close()

    async def _run(self, request: tuple[str, Any]) -> Any:
        raw = pickle.dumps(request)
        process = self._free.pop() if self._free else _Process()
        self._busy.add(process)
        try:
            kind, value = await self._threads.run(partial(_call, process, raw))
        except asyncio.CancelledError:
            process.kill()
            raise
        except (EOFError, OSError) as error:
            code = await asyncio.to_thread(_code_and_end, process)
            raise HandlerProcessDied(code) from error
        finally:
            self._busy.discard(process)
        self._free.append(process)
        if kind == "error":
            raise value
        return value


def _call(process: _Process, raw: bytes) -> Any:
    try:
        return process.call(raw)
    except (EOFError, OSError):
        if process._killed:  # nobody waits for it any more
            with contextlib.suppress(OSError, ValueError):
                process.end()
        raise


def _code_and_end(process: _Process) -> int | None:
    code = process.exit_code
    process.end()
    return code
