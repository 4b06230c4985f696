"""How code that cannot be interrupted, a handler in a thread, learns that its attempt is over."""

from __future__ import annotations

import asyncio
import threading
from contextvars import ContextVar

from .errors import ActionCancelled, NoobleError


class CancelToken:
    """Says whether the attempt was stopped: cancelled, out of time, or its worker stops or lost its lease.

    Once it is set, the outcome is decided; what the handler still returns or raises is not written. A handler
    gets it by a parameter annotated `CancelToken`, or by `current_cancel_token()`.
    """

    __slots__ = ("_event", "_reason")

    def __init__(self) -> None:
        self._event = threading.Event()
        self._reason: NoobleError | None = None

    @property
    def cancelled(self) -> bool:
        """Whether the handler should end now."""
        return self._event.is_set()

    @property
    def reason(self) -> NoobleError | None:
        """Why: ActionCancelled, ActionTimeout, LeaseLost or WorkerStopping; None while it may run."""
        return self._reason

    def wait(self, timeout_s: float | None = None) -> bool:
        """Sleep in the handler's thread, but not past a cancellation; True when there was one."""
        return self._event.wait(timeout_s)

    def raise_if_cancelled(self) -> None:
        """Raise the reason if the handler should end."""
        if self._event.is_set():
            raise self._reason or ActionCancelled()

    def cancel(self, reason: NoobleError | None = None) -> None:
        """Set it; the first reason stays."""
        if not self._event.is_set():
            self._reason = reason
            self._event.set()


_current: ContextVar[CancelToken | None] = ContextVar("nooble_cancel_token", default=None)


def current_cancel_token() -> CancelToken:
    """The token of the running attempt; outside of any, one that nobody sets."""
    return _current.get() or CancelToken()


def enter_token() -> CancelToken:
    """A fresh token for the running attempt."""
    token = CancelToken()
    _current.set(token)
    return token


def reason_of_stop(stop: asyncio.CancelledError) -> NoobleError | None:
    """Why a worker stopped an attempt: it travels as the CancelledError's argument."""
    reason = stop.args[0] if stop.args else None
    return reason if isinstance(reason, NoobleError) else None
