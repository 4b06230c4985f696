"""The noisy neighbour at rivals: as installed, one queue for all; and with priorities set by hand."""

from __future__ import annotations

import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

from . import noisy
from .noisy import BACKLOG, EACH, SLOTS, TENANTS
from .peers import Peer
from .plan import Plan, Rows, Scenario, Step
from .processes import RoleFailedError, Row
from .server import flush

WITHIN_S = 120.0


def measure(plan: Plan, peer: Peer, *, ranked: bool) -> Row:
    """The backlog first, then a worker and the fifty at once, as for ours."""
    flush(plan.url)
    common: dict[str, Any] = {"url": plan.url, "kind": "nap", "ranked": ranked}
    _send(peer, tag="a", tenants=1, count=BACKLOG, **common)
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        notes = Path(folder) / "starts"
        notes.touch()
        worker = peer.start("work", slots=SLOTS, notes=str(notes), **common)
        sender = peer.start("send", tag="b", tenants=TENANTS, count=EACH, **common)
        try:
            worker.line()
            sender.line()
            began = time.time()
            worker.go()
            sender.go()
            sender.row()
            starts = _all_started(plan, notes)
        finally:
            worker.end()
            sender.end()
    waits = sorted((at - sent) * 1000 for tag, sent, at in starts if tag.startswith("b"))
    return {
        "wait_p50_ms": waits[len(waits) // 2],
        "wait_p99_ms": waits[int(len(waits) * 0.99)],
        "drain_s": max(at for _, _, at in starts) - began,
    }


def _send(peer: Peer, **order: object) -> None:
    sender = peer.start("send", **order)
    try:
        sender.line()
        sender.go()
        sender.row()
    finally:
        sender.end()


def _all_started(plan: Plan, notes: Path) -> list[tuple[str, float, float]]:
    """(action, sent, started) of all, once the last has started."""
    everything, until = BACKLOG + TENANTS * EACH, time.monotonic() + WITHIN_S
    while time.monotonic() < until:
        lines = notes.read_text(encoding="utf-8").splitlines()
        started = [line.split() for line in lines if line.count(" ") == 2]
        if len({tag for tag, _, _ in started}) >= everything:
            return [(tag, float(sent), float(at)) for tag, sent, at in started]
        plan.pause(0.5)
    raise RoleFailedError(f"noisy neighbour: not drained within {WITHIN_S:.0f} s")


def _step(plan: Plan, name: str, ranked: bool) -> Rows:
    peer = Peer(name)
    if ranked and not peer.about()["ranks"]:
        return {}
    return {f"{name}, by hand" if ranked else name: measure(plan, peer, ranked=ranked)}


def _steps(plan: Plan) -> list[Step]:
    return [
        Step("ours", partial(noisy.measure, plan.url)),
        *(
            Step(name, partial(_step, plan, name, ranked), name)
            for name in plan.rivals
            for ranked in (False, True)
        ),
    ]


NOISY = Scenario("noisy", "noisy neighbour", noisy.LEGEND, _steps)
