"""The last resort for errors nobody caught: they reach the log with their traceback instead of vanishing."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any


def setup_error_handling(
    logger: logging.Logger | None = None, loop: asyncio.AbstractEventLoop | None = None
) -> Callable[[], None]:
    """Log what nobody caught in the main program, in threads, in finalisers and in the event loop.

    Without `loop` the running one is taken, if any. Returns a function that restores what was there before.
    KeyboardInterrupt and SystemExit are left to Python.
    """
    log = logger or logging.getLogger("nooble_tasks")
    former = (sys.excepthook, threading.excepthook, sys.unraisablehook)
    loop = loop or _running_loop()
    former_handler = None if loop is None else loop.get_exception_handler()

    def program(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if issubclass(kind, Exception):
            log.critical("uncaught %s: the process ends", kind.__name__, exc_info=(kind, error, trace))
        else:
            former[0](kind, error, trace)

    def thread(args: threading.ExceptHookArgs) -> None:
        if args.exc_value is not None and issubclass(args.exc_type, Exception):
            name = args.thread.name if args.thread else "?"
            info = (args.exc_type, args.exc_value, args.exc_traceback)
            log.error("uncaught %s in thread %s", args.exc_type.__name__, name, exc_info=info)
        else:
            former[1](args)

    def unraisable(args: Any) -> None:
        # The object itself is not logged: keeping it would bring it back to life.
        log.error("%s in a finaliser", args.exc_type.__name__, exc_info=args.exc_value)

    sys.excepthook, threading.excepthook, sys.unraisablehook = program, thread, unraisable
    if loop is not None:
        loop.set_exception_handler(lambda _loop, found: _log_loop_error(log, found))

    def restore() -> None:
        sys.excepthook, threading.excepthook, sys.unraisablehook = former
        if loop is not None and not loop.is_closed():
            loop.set_exception_handler(former_handler)

    return restore


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _log_loop_error(log: logging.Logger, found: dict[str, Any]) -> None:
    error = found.get("exception")
    task = found.get("task") or found.get("future")
    where = f" in {task.get_name()}" if isinstance(task, asyncio.Task) else ""
    log.error("%s%s", found.get("message") or "error in the event loop", where, exc_info=error)
