"""Notices from a thread that the event loop does not turn, and says which handler keeps it from turning."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
import traceback
from collections.abc import Callable
from types import FrameType

from .executor import Executor

_log = logging.getLogger(__name__)

_INNERMOST = 12  # frames of the stack that are told


class Watchdog:
    """Asks the loop for a sign of life, and reports when none comes for `blocked_s` seconds.

    Said once per blockage, again whenever it has lasted twice as long, and when it is over. ``on_blocked`` is
    called in the thread as often. Start it from inside of the loop that it is to watch.
    """

    def __init__(self, blocked_s: float, on_blocked: Callable[[], None] = lambda: None) -> None:
        self._blocked_s = blocked_s
        self._on_blocked = on_blocked
        self._every_s = max(blocked_s / 2, 0.01)
        self._stopping = threading.Event()
        self._alive = threading.Event()
        self._thread: threading.Thread | None = None
        self._loop_thread = 0

    def start(self) -> None:
        """Begin watching."""
        self._loop_thread = threading.get_ident()
        loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._watch, args=(loop,), name="watchdog", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Watch no more; the thread ends by itself."""
        self._stopping.set()
        self._alive.set()

    def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        while not self._stopping.wait(self._every_s):
            self._alive.clear()
            asked = time.monotonic()
            try:
                loop.call_soon_threadsafe(self._alive.set)
            except RuntimeError:  # the loop is closed
                return
            if not self._alive.wait(self._blocked_s):
                self._report_until_over(asked)

    def _report_until_over(self, asked: float) -> None:
        who, again_s = "", self._blocked_s
        while not self._stopping.is_set():
            frame = sys._current_frames().get(self._loop_thread)
            who = blocker(frame) or who
            blocked_s = time.monotonic() - asked
            stack = "".join(traceback.format_stack(frame)[-_INNERMOST:]) if frame is not None else ""
            _log.error(
                "the event loop has been blocked for %.1f s%s; run blocking code in a thread (a plain `def` "
                "handler) or with await asyncio.to_thread(...). It is here:\n%s",
                *(blocked_s, f" by {who}" if who else "", stack),
            )
            self._on_blocked()
            again_s *= 2
            if self._alive.wait(again_s - (time.monotonic() - asked)):
                break
        _log.warning(
            "the event loop turns again after %.1f s%s",
            *(time.monotonic() - asked, f" blocked by {who}" if who else ""),
        )


def blocker(frame: FrameType | None) -> str:
    """The attempt that a stack of the loop's thread belongs to, empty when it is none."""
    while frame is not None:
        if frame.f_code is Executor.run.__code__:
            claimed = frame.f_locals["claimed"]
            return f"the handler of {claimed.action_type}, action {claimed.action_id} of {claimed.tenant_id}"
        frame = frame.f_back
    return ""
