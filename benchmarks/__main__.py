"""``python -m benchmarks``: nooble-tasks beside the bare client and beside rivals, on one server, in one run.

Scenarios: ``speed`` (no-op), ``sleep`` and ``large`` (enqueue and drain), ``calls`` and ``idle``,
``noisy``, ``crash`` (all of them beside rivals), ``scaling`` (cost of a claim by how many tenants wait),
``verbs`` (commands, time and bytes on the server), ``parts`` (where the time of a send goes), ``memory``
(what 100,000 tenants leave), or ``all``.
``report`` makes docs/benchmarks.md and the README's table from what ``--json`` printed.

Everything runs in processes of its own; rounds are interleaved; a median is shown with least and most.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import sys
from functools import partial
from typing import Any

from rich.console import Console

from . import calls, crash, memory, noisy_rivals, parts, report, rounds, scaling, speed, tables, verbs
from .peers import ALL, PYTHON, Peer, missing
from .plan import Plan, Rows, Scenario, Step, run_module
from .processes import RoleFailedError
from .server import flush, fresh_server


def _role_step(module: str, plan: Plan) -> Rows:
    flush(plan.url)
    rows: Rows = run_module(module, plan.url)
    return rows


def _alone(name: str, title: str, legend: str) -> Scenario:
    """A scenario of ours alone that is one process."""
    call = partial(_role_step, f"benchmarks.{name}")
    return Scenario(name, title, legend, lambda plan: [Step(name, partial(call, plan))])


SCENARIOS = {
    one.name: one
    for one in (
        speed.SPEED,
        speed.SLEEP,
        speed.LARGE,
        calls.CALLS,
        calls.IDLE,
        noisy_rivals.NOISY,
        crash.CRASH,
        _alone("scaling", "growth with tenants", scaling.LEGEND),
        _alone("verbs", "the server's side of each verb", verbs.LEGEND),
        _alone("parts", "where the time of a send goes", parts.LEGEND),
        _alone("memory", "what 100,000 tenants leave behind", memory.LEGEND),
    )
}


_DEFAULT, _DEFAULT_RIVALS = ("speed", "calls", "idle"), "arq,saq"


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("scenarios", nargs="*", metavar="SCENARIO", help=f"of {', '.join(SCENARIOS)}; or all")
    made.add_argument(
        "--count", type=int, default=20_000, help="actions per round of ours, of the floor and of Node's"
    )
    made.add_argument("--rival-count", type=int, default=3_000, help="tasks per round of a Python rival")
    made.add_argument("--rounds", type=int, default=3)
    made.add_argument("--minutes", type=float, default=30.0, help="begin no step after so many minutes")
    made.add_argument(
        "--rivals",
        help=f"comma-separated, of {', '.join(ALL)}; or python, or all (default: none, and {_DEFAULT_RIVALS} "
        f"where no scenario is named, which means {', '.join(_DEFAULT)})",
    )
    made.add_argument("--aof", action="store_true", help="let the server write its append-only file")
    made.add_argument("--idle-window", type=float, default=20.0, help="seconds")
    made.add_argument(
        "--give-up", type=float, default=75.0, help="seconds to wait for recovery after a crash"
    )
    made.add_argument("--note", default="", help="a remark on this run, for its page")
    made.add_argument("--json", action="store_true", help="print the figures as JSON, for `report`")
    return made


def main() -> None:
    """Measure and show."""
    if sys.argv[1:2] == ["report"]:
        report.main(sys.argv[2:])
        return
    made = parser()
    chosen = made.parse_args()
    names = list(SCENARIOS) if chosen.scenarios == ["all"] else chosen.scenarios or list(_DEFAULT)
    if unknown := [name for name in names if name not in SCENARIOS]:
        made.error(f"no scenario {', '.join(unknown)}; there are {', '.join(SCENARIOS)}")
    console = Console(stderr=chosen.json)
    with fresh_server(append_only=chosen.aof) as server:
        plan = Plan(
            server.url,
            _rivals(
                _DEFAULT_RIVALS if chosen.rivals is None and not chosen.scenarios else chosen.rivals or ""
            ),
            chosen.count,
            chosen.rival_count,
            chosen.idle_window,
            chosen.give_up,
        )
        versions = _prepare(plan, console)
        scenarios = [SCENARIOS[name] for name in names]
        result = rounds.run(scenarios, plan, chosen.rounds, chosen.minutes, console)
        about = {
            "server": f"{server.kind} {server.version}" + (", AOF" if chosen.aof else ", no AOF"),
            "python": platform.python_version(),
            "machine": f"{platform.system()} {platform.machine()}, {_processors()} CPUs",
            "command": "python -m benchmarks " + shlex.join(sys.argv[1:]),
            "sizes": {"ours": chosen.count, "rivals": chosen.rival_count, "rounds": chosen.rounds},
            "peers": versions,
            "note": chosen.note,
        }
    if chosen.json:
        print(json.dumps({"about": about, **result.to_json()}, indent=1))
    else:
        tables.show(console, scenarios, result)
        console.print({name: value for name, value in about.items() if name != "peers"})
    if result.cut.startswith("stopped"):
        raise SystemExit(130)


def _rivals(chosen: str) -> list[str]:
    groups = {"all": ALL, "python": PYTHON}
    return [name for part in chosen.split(",") if part for name in groups.get(part, (part,))]


def _prepare(plan: Plan, console: Console) -> dict[str, Any]:
    """Make the rivals' environments; their versions and settings."""
    versions: dict[str, Any] = {}
    for name in list(plan.rivals):
        if reason := missing(name):
            plan.failures[name] = reason
            console.print(f"{name}: {reason}")
            continue
        with console.status(f"{name}: its environment (made once)"):
            try:
                versions[name] = Peer(name).about()
            except RoleFailedError as error:
                plan.failures[name] = str(error)
                console.print(f"{name}: {error}", markup=False)
    return versions


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:  # before the first round
        raise SystemExit(130) from None
