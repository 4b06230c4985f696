"""Rounds of a run, interleaved: everything once, then everything again, within a given time."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from .figures import Table, spreads, to_json
from .plan import Plan, Rows, Scenario
from .processes import RoleFailedError


@dataclass
class Result:
    """What a run has measured."""

    rounds: dict[str, list[Rows]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    cut: str = ""
    """Why it ended before its last round."""

    def tables(self) -> dict[str, Table]:
        """Per scenario the spread of every figure."""
        return {name: spreads(rounds) for name, rounds in self.rounds.items()}

    def to_json(self) -> dict[str, Any]:
        """For `report`."""
        return {
            "scenarios": {name: to_json(table) for name, table in self.tables().items()},
            "failed": self.failures,
            "cut": self.cut,
        }


def run(scenarios: list[Scenario], plan: Plan, rounds: int, minutes: float, console: Console) -> Result:
    """All scenarios, round by round; ends early, with what there is, on Ctrl-C or when the time is over."""
    result, until = Result(failures=plan.failures), time.monotonic() + minutes * 60
    todo = [
        (scenario, step)
        for number in range(rounds)
        for scenario in scenarios
        if number < scenario.most_rounds
        for step in scenario.steps(plan)
    ]
    columns = (TextColumn("{task.description:<28}"), BarColumn(), TextColumn("{task.completed}/{task.total}"))
    with Progress(*columns, TimeElapsedColumn(), console=console) as progress:
        bar = progress.add_task("", total=len(todo))
        try:
            for scenario, step in todo:
                if time.monotonic() > until:
                    result.cut = f"the {minutes:g} minutes were over"
                    break
                if step.rival not in plan.failures:
                    progress.update(bar, description=f"{scenario.name}: {step.name}")
                    _do(scenario, step.rival, step.call, plan, result)
                progress.advance(bar)
        except KeyboardInterrupt:
            plan.stopped.set()
            result.cut = "stopped by Ctrl-C"
    return result


def _do(scenario: Scenario, rival: str, call: Any, plan: Plan, result: Result) -> None:
    try:
        rows = call()
    except RoleFailedError as error:
        if not rival:
            raise SystemExit(f"{scenario.name}: {error}") from error
        plan.failures[rival] = str(error)
    else:
        result.rounds.setdefault(scenario.name, []).append(rows)
