"""Enqueue and drain: no-op, 1 ms of sleep, 10 KB of payload."""

from __future__ import annotations

from functools import partial
from typing import Any

from .peers import NODE, OURS, Peer
from .plan import Plan, Rows, Scenario, Step, measured, run_module
from .processes import Row
from .server import flush

LEGEND = (
    "one worker process, 100 slots, results stored; worker_us, server_us: CPU per action, of the server for "
    "enqueue and drain; bare: redis-py and no queue; ours, N: N tenants, limits on"
)


def floor_step(plan: Plan) -> Rows:
    """The bare client."""
    flush(plan.url)
    return {
        "bare": measured(
            plan.url, plan.count, lambda: run_module("benchmarks.floor", plan.url, plan.count, limit_s=120)
        )
    }


def ours_step(plan: Plan, kind: str, tenants: int) -> Rows:
    """Enqueue and drain, limits on."""
    flush(plan.url)
    order: dict[str, Any] = {"url": plan.url, "count": plan.count, "kind": kind, "tenants": tenants}
    put = measured(plan.url, plan.count, lambda: OURS.run("enqueue", **order))
    took = measured(plan.url, plan.count, lambda: OURS.run("drain", **order))
    row: Row = put | took | {"enqueue_server_us": put["server_us"], "drain_server_us": took["server_us"]}
    row["server_us"] = put["server_us"] + took["server_us"]
    if kind == "noop" and tenants == 100:
        row |= OURS.run("one_by_one", url=plan.url, count=min(plan.count // 10, 2_000))
    return {f"ours, {tenants:,}": row}


def rival_step(plan: Plan, kind: str, name: str) -> Rows:
    """A rival enqueues and drains; those as fast as ours as many as ours."""
    flush(plan.url)
    peer, count = Peer(name), plan.count if name in NODE else plan.rival_count
    order: dict[str, Any] = {"url": plan.url, "kind": kind, "within_s": 60}
    row = measured(plan.url, count, lambda: peer.run("drain", count=count, **order))
    if kind == "noop":
        flush(plan.url)
        row |= peer.run("one_by_one", count=plan.rival_count // 3, **order)
    return {name: row}


def _steps(kind: str, plan: Plan) -> list[Step]:
    ours = [Step("ours", partial(ours_step, plan, kind, 100))]
    if kind == "noop":
        ours = [
            Step("bare", partial(floor_step, plan)),
            *ours,
            Step("ours, 10,000", partial(ours_step, plan, kind, 10_000)),
        ]
    return ours + [Step(name, partial(rival_step, plan, kind, name), name) for name in plan.rivals]


SPEED = Scenario("speed", "no-op", LEGEND, partial(_steps, "noop"))
SLEEP = Scenario("sleep", "1 ms of sleep", LEGEND, partial(_steps, "sleep"))
LARGE = Scenario("large", "10 KB of payload", LEGEND, partial(_steps, "large"))
