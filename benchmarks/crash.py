"""kill -9 of a worker with 100 actions in flight: how long until all of them run again.

A second worker starts at once. As installed, and with the settings that each peer's documents give for it.
All peers wait at the same time, each on a server of its own; only their start-up is in turn.
"""

from __future__ import annotations

import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from .calls import working
from .peers import OURS, Peer
from .plan import Plan, Rows, Scenario, Step, together
from .processes import RoleFailedError, Row
from .server import fresh_server

ACTIONS = 100
STARTED_WITHIN_S = 40.0

LEGEND = (
    f"of {ACTIONS} actions that a killed worker held: again: how many run once more, first_s, all_s: after "
    "how long; no all_s: not all of them within gave_up_s"
)


def measure(peer: Peer, plan: Plan, settings: str, starting: threading.Lock) -> Row:
    """Kill one worker, time the next."""
    order: dict[str, Any] = {"slots": ACTIONS, "settings": settings}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        server = stack.enter_context(fresh_server())
        first, second = folder / "first", folder / "second"
        with starting:
            plan.pause(0)
            _send(peer, server.url, settings)
            with working(peer, server.url, notes=str(first), stuck=True, **order):
                _wait_for(plan, first, STARTED_WITHIN_S)
            killed = time.time()
            stack.enter_context(working(peer, server.url, notes=str(second), **order))
        again = _wait_for(plan, second, plan.give_up_s - (time.time() - killed), strict=False)
    times = sorted(at - killed for at in again.values())
    row = {"again": float(len(times)), "gave_up_s": plan.give_up_s}
    if times:
        row["first_s"] = times[0]
    if len(times) == ACTIONS:
        row["all_s"] = times[-1]
    return row


def _send(peer: Peer, url: str, settings: str) -> None:
    order: dict[str, Any] = {"url": url, "kind": "hold", "count": ACTIONS, "tag": "x", "settings": settings}
    if peer == OURS:
        peer.run("enqueue", tenants=ACTIONS, **order)
        return
    sender = peer.start("send", **order)
    try:
        sender.line()
        sender.go()
        sender.row()
    finally:
        sender.end()


def _wait_for(plan: Plan, notes: Path, within_s: float, *, strict: bool = True) -> dict[str, float]:
    """Action -> when it started (the first time), once all have, or when the time is over."""
    until = time.monotonic() + within_s
    while True:
        text = notes.read_text(encoding="utf-8") if notes.exists() else ""
        started: dict[str, float] = {}
        for words in map(str.split, text.splitlines()):
            if len(words) >= 2:
                started.setdefault(words[0], float(words[-1]))
        if len(started) >= ACTIONS or (not strict and time.monotonic() > until):
            return started
        if time.monotonic() > until:
            raise RoleFailedError(f"crash: {len(started)} of {ACTIONS} in flight after {within_s:.0f} s")
        plan.pause(0.05)


def _both(peer: Peer, plan: Plan, starting: threading.Lock) -> Row:
    with ThreadPoolExecutor(1) as beside:
        tuned = beside.submit(measure, peer, plan, "tuned", starting)
        row = measure(peer, plan, "installed", starting)
        return row | {f"tuned_{figure}": value for figure, value in tuned.result().items()}


def step(plan: Plan) -> Rows:
    """All peers."""
    return together(plan, partial(_both, plan=plan, starting=threading.Lock()))


CRASH = Scenario(
    "crash",
    "kill -9 with 100 in flight",
    LEGEND,
    lambda plan: [Step("crash", partial(step, plan))],
    most_rounds=3,
)
