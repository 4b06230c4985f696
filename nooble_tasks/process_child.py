"""What runs in a handler's process: one call after the other, until the pipe closes or the worker is gone."""

from __future__ import annotations

import os
import pickle
import threading
from functools import reduce
from importlib import import_module
from multiprocessing import parent_process
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING, Any, NamedTuple

from .context import ExecutionContext, use_context
from .errors import NoobleError
from .payload import plain

if TYPE_CHECKING:
    from .service import BaseService


class Call(NamedTuple):
    """One attempt for another process: where its handler is, and what it is called with."""

    module: str
    class_name: str
    action_type: str
    data: Any
    context: ExecutionContext | None


def serve(pipe: Connection) -> None:
    """Answer requests until there are no more."""
    # Ctrl-C and a supervisor's SIGTERM reach a whole group; the worker decides when a handler is stopped.
    os.setsid()
    threading.Thread(target=_end_with_worker, daemon=True).start()
    while True:
        try:
            request = pipe.recv_bytes()
        except (EOFError, OSError):
            return
        pipe.send_bytes(_answer(request))


def _end_with_worker() -> None:
    """The worker may be killed while a handler runs here: nobody would ever read its result."""
    worker = parent_process()
    if worker is not None:
        wait([worker.sentinel])
        os._exit(1)


def _answer(request: bytes) -> bytes:
    try:
        verb, argument = pickle.loads(request)
        if verb == "import":
            for module in argument:
                import_module(module)
            return pickle.dumps(("value", None))
        return pickle.dumps(("value", _run(argument)))
    except Exception as error:
        return _error(error)


def _run(call: Call) -> Any:
    service: type[BaseService] = reduce(getattr, call.class_name.split("."), import_module(call.module))  # type: ignore[assignment]
    handler = service._handlers[call.action_type]
    with use_context(call.context):
        return plain(handler.call_in_process(service, call.action_type, call.data))


def _error(error: Exception) -> bytes:
    """The error as it is, where it survives the way; else its name and message."""
    try:
        raw = pickle.dumps(("error", error))
        pickle.loads(raw)
        return raw
    except Exception:
        return pickle.dumps(("error", NoobleError(f"{type(error).__name__}: {error}")))
