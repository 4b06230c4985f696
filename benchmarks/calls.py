"""Round trips of single calls on an idle system, and what an idle worker costs the server."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial

from .peers import OURS, Peer
from .plan import Plan, Rows, Scenario, Step, together
from .processes import Role, Row
from .server import commands, flush, fresh_server

SETTLE_S = 12.0  # workers have joined, readers of callers have ended, everybody sleeps

CALL_LEGEND = (
    "call_: a caller sends an action and waits for its result; ping: a bare round trip; one at a time; "
    "_us: CPU per call, of the worker with warming up"
)
IDLE_LEGEND = "commands that the server ran per second, those inside scripts included, and CPU of the worker"


@contextmanager
def working(peer: Peer, url: str, **order: object) -> Iterator[Role]:
    """A worker of this peer for the length of the block."""
    worker = peer.start("work", url=url, **order)
    try:
        worker.line()
        worker.go()
        worker.line()
        yield worker
    finally:
        worker.end()


def call_step(plan: Plan, peer: Peer, subject: str) -> Rows:
    """Calls to one worker: 300, or what three seconds allow."""
    flush(plan.url)
    with working(peer, plan.url) as worker:
        cpu = worker.cpu_s()
        row = peer.run("call", url=plan.url, count=300, tenants=1, within_s=3, limit_s=40)
        row["worker_us"] = (worker.cpu_s() - cpu) / row["calls"] * 1e6
        return {subject: row}


def idle_row(peer: Peer, plan: Plan, starting: threading.Lock) -> Row:
    """A worker with nothing to do, on a server of its own."""
    with fresh_server() as server, ExitStack() as running:
        with starting:
            plan.pause(0)
            worker = running.enter_context(working(peer, server.url))
        plan.pause(SETTLE_S)
        before, cpu, started = commands(server.url), worker.cpu_s(), time.perf_counter()
        plan.pause(plan.window_s)
        elapsed = time.perf_counter() - started
        ran = commands(server.url) - before - 1  # the first of the two questions
        return {
            "commands_per_s": ran / elapsed,
            "worker_cpu_percent": (worker.cpu_s() - cpu) / elapsed * 100,
        }


def idle_step(plan: Plan) -> Rows:
    """All idle workers at once: nothing that one does delays another."""
    return together(plan, partial(idle_row, plan=plan, starting=threading.Lock()))


def _call_steps(plan: Plan) -> list[Step]:
    return [
        Step("ours", partial(call_step, plan, OURS, "ours, 100")),
        *(Step(name, partial(call_step, plan, Peer(name), name), name) for name in plan.rivals),
    ]


CALLS = Scenario("calls", "round trip of a call, idle system", CALL_LEGEND, _call_steps)
IDLE = Scenario(
    "idle",
    "an idle worker",
    IDLE_LEGEND,
    lambda plan: [Step("idle", partial(idle_step, plan))],
    most_rounds=1,
)
