"""Rounds are interleaved, bounded, and survive rivals that fail."""

from __future__ import annotations

import io
from functools import partial

from rich.console import Console

from benchmarks import rounds
from benchmarks.figures import Spread, spreads
from benchmarks.plan import Plan, Rows, Scenario, Step
from benchmarks.processes import RoleFailedError

QUIET = Console(file=io.StringIO())


def _plan(*rivals: str) -> Plan:
    return Plan("unix:///nowhere", list(rivals))


def _scenario(said: list[str], *names: str, fails: str = "", rivals: tuple[str, ...] = ()) -> Scenario:
    def call(name: str) -> Rows:
        said.append(name)
        if name == fails:
            raise RoleFailedError("it fell over")
        return {name: {"per_s": float(len(said))}}

    def steps(plan: Plan) -> list[Step]:
        return [Step(name, partial(call, name), name if name in rivals else "") for name in names]

    return Scenario("x", "x", "", steps)


def test_rounds_go_over_everything_in_turn() -> None:
    said: list[str] = []
    result = rounds.run([_scenario(said, "a", "b")], _plan(), 3, 1, QUIET)
    assert said == ["a", "b"] * 3
    assert result.tables()["x"]["a"]["per_s"] == Spread(3, 1, 5, 3)
    assert result.cut == ""


def test_a_rival_that_fails_is_left_out_and_named() -> None:
    said: list[str] = []
    scenario = _scenario(said, "ours", "arq", fails="arq", rivals=("arq",))
    result = rounds.run([scenario], _plan("arq"), 3, 1, QUIET)
    assert said == ["ours", "arq", "ours", "ours"]
    assert result.failures == {"arq": "it fell over"}
    assert set(result.tables()["x"]) == {"ours"}


def test_no_step_begins_after_the_time() -> None:
    said: list[str] = []
    result = rounds.run([_scenario(said, "a")], _plan(), 3, 0, QUIET)
    assert said == []
    assert result.cut == "the 0 minutes were over"


def test_ctrl_c_keeps_what_was_measured() -> None:
    def steps(plan: Plan) -> list[Step]:
        def stop() -> Rows:
            raise KeyboardInterrupt

        return [Step("a", lambda: {"a": {"per_s": 1.0}}), Step("b", stop)]

    plan = _plan()
    result = rounds.run([Scenario("x", "x", "", steps)], plan, 3, 1, QUIET)
    assert result.tables() == {"x": {"a": {"per_s": Spread(1, 1, 1, 1)}}}
    assert result.cut == "stopped by Ctrl-C"
    assert plan.stopped.is_set()


def test_a_median_has_its_range() -> None:
    rows: list[Rows] = [{"a": {"per_s": value}} for value in (5.0, 1.0, 9.0, 2.0)]
    assert spreads(rows) == {"a": {"per_s": Spread(3.5, 1.0, 9.0, 4)}}
