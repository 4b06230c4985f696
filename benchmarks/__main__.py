"""``python -m benchmarks``: nooble-tasks beside the bare client and beside rivals, on one server, in one run.

Other scenarios by name: ``noisy`` (one tenant's backlog and fifty small ones on a live worker), ``scaling``
(cost of a claim by how many tenants wait), ``memory`` (what 100,000 tenants leave behind).

Everything runs in processes of its own; rounds are interleaved and medians are shown.
"""

from __future__ import annotations

import argparse
import json
import platform
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from . import memory, noisy, scaling
from .server import flush, fresh_server, usage

HERE = Path(__file__).parent
RIVALS_HOME = HERE.parent / ".venv-rivals"
Row = dict[str, float]

_LEGEND = (
    "bare: redis-py and no queue · ours, N: nooble-tasks with N tenants, limits on. call_, idle_: single "
    "calls, and a worker with nothing to do. _us: CPU per action; per_s: of one worker process"
)


def run_role(module: str, *arguments: object) -> Row:
    """Run a role in a process of its own; its line of JSON."""
    command = [sys.executable, "-m", module, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    row: Row = json.loads(done.stdout.strip().splitlines()[-1])
    return row


def measured(url: str, count: int, call: Callable[[], Row]) -> Row:
    """What ``call`` measured, and the server's CPU per action meanwhile (µs)."""
    before = usage(url)
    row = call()
    row["server_us"] = (usage(url).cpu_s - before.cpu_s) / count * 1e6
    return row


def floor_round(url: str, count: int) -> dict[str, Row]:
    """The bare client."""
    flush(url)
    return {"bare": measured(url, count, lambda: run_role("benchmarks.floor", url, count))}


def ours_round(url: str, count: int, tenants: int) -> dict[str, Row]:
    """Enqueue and drain, limits on."""
    flush(url)
    put = measured(url, count, lambda: run_role("benchmarks.ours", "enqueue", url, count, tenants))
    took = measured(url, count, lambda: run_role("benchmarks.ours", "drain", url, count, 100))
    row = put | took | {"enqueue_server_us": put["server_us"], "drain_server_us": took["server_us"]}
    row["server_us"] = put["server_us"] + took["server_us"]
    if tenants == 100:
        row |= run_role("benchmarks.ours", "enqueue_one", url, min(count // 10, 2_000))
    return {f"ours, {tenants:,}": row}


@contextmanager
def worker_process(url: str) -> Iterator[int]:
    """A worker that waits for work; its pid."""
    command = [sys.executable, "-m", "benchmarks.ours", "work", url, "100"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(2)  # let it join and fall asleep: start-up is not what is measured
        yield process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=30)


def call_and_idle_round(url: str, window_s: float) -> dict[str, Row]:
    """Round trips of single calls, then what an idle worker costs."""
    flush(url)
    with worker_process(url):
        calls = run_role("benchmarks.ours", "call", url, 500)
        time.sleep(12)  # the caller's reader ends, the worker falls asleep
        before, started = usage(url), time.perf_counter()
        time.sleep(window_s)
        after, elapsed = usage(url), time.perf_counter() - started
        calls["idle_commands_per_s"] = (after.commands - before.commands) / elapsed
    return {"ours, 100": calls}


def rival_round(name: str, url: str, *, count: int) -> dict[str, Row]:
    """One rival, in its own environment, made at the first use."""
    python = RIVALS_HOME / name / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", RIVALS_HOME / name], check=True)
        requirements = HERE / f"requirements-{name}.txt"
        subprocess.run([python, "-m", "pip", "install", "-q", "-r", requirements], check=True)
    flush(url)

    def call() -> Row:
        command = [str(python), str(HERE / "rivals.py"), name, url, str(count)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
        if done.returncode:
            raise SystemExit(f"{name} failed:\n{done.stderr[-2000:]}")
        row: Row = json.loads(done.stdout.strip().splitlines()[-1])
        return row

    return {name: measured(url, count, call)}


def noisy_round(url: str) -> dict[str, Row]:
    """A live worker and its noisy neighbour."""
    return noisy.measure(url)


def role_round(module: str, url: str) -> dict[str, Row]:
    """A scenario that is one role."""
    flush(url)
    rows: Any = run_role(module, url)
    return dict(rows)


SCENARIOS: dict[str, tuple[Callable[[str], dict[str, Row]], str]] = {
    "noisy": (noisy_round, noisy.LEGEND),
    "scaling": (partial(role_round, "benchmarks.scaling"), scaling.LEGEND),
    "memory": (partial(role_round, "benchmarks.memory"), memory.LEGEND),
}


def medians(rounds: list[dict[str, Row]]) -> dict[str, Row]:
    """Per subject and figure the median of all rounds."""
    collected: dict[str, dict[str, list[float]]] = {}
    for one in rounds:
        for subject, row in one.items():
            for figure, value in row.items():
                collected.setdefault(subject, {}).setdefault(figure, []).append(value)
    return {
        subject: {figure: statistics.median(values) for figure, values in row.items()}
        for subject, row in collected.items()
    }


def table(result: dict[str, Row]) -> Table:
    """The figures as a table: a subject per column."""
    figures = list(dict.fromkeys(figure for row in result.values() for figure in row))
    shown = Table(title="medians of this run; compare within it only")
    shown.add_column("figure", no_wrap=True)
    for subject in result:
        shown.add_column(subject, justify="right", no_wrap=True)
    for figure in figures:
        shown.add_row(figure, *(_number(row.get(figure)) for row in result.values()))
    return shown


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if value >= 100 else f"{value:,.2f}"


def main() -> None:
    """Measure and show."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("scenario", nargs="?", choices=["speed", *SCENARIOS], default="speed")
    parser.add_argument("--count", type=int, default=20_000, help="actions per round of ours and the floor")
    parser.add_argument("--rival-count", type=int, default=3_000, help="tasks per round of a rival")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rivals", default="arq,saq", help="comma-separated, empty for none")
    parser.add_argument("--aof", action="store_true", help="let the server write its append-only file")
    parser.add_argument("--idle-window", type=float, default=20.0, help="seconds")
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    rivals = [name for name in chosen.rivals.split(",") if name]
    rounds: list[dict[str, Row]] = []
    steps: list[Callable[[str], dict[str, Row]]] = [
        lambda url: floor_round(url, chosen.count),
        lambda url: ours_round(url, chosen.count, 100),
        lambda url: ours_round(url, chosen.count, 10_000),
        *(partial(rival_round, name, count=chosen.rival_count) for name in rivals),
    ]
    legend = _LEGEND
    if chosen.scenario != "speed":
        step, legend = SCENARIOS[chosen.scenario]
        steps = [step]
    console = Console(stderr=chosen.json)
    with fresh_server(append_only=chosen.aof) as server, Progress(console=console) as progress:
        url = server.url
        bar = progress.add_task("measuring", total=chosen.rounds * len(steps) + 1)
        for step in steps * chosen.rounds:
            rounds.append(step(url))
            progress.advance(bar)
        if chosen.scenario == "speed":
            rounds.append(call_and_idle_round(url, chosen.idle_window))
        progress.advance(bar)
        about = {
            "server": f"{server.kind} {server.version}",
            "python": platform.python_version(),
            "machine": f"{platform.machine()}, {_processors()} CPUs",
            "command": "python -m benchmarks " + " ".join(sys.argv[1:]),
        }
    result: Any = medians(rounds)
    if chosen.json:
        print(json.dumps({"about": about, "medians": result}, indent=2))
    else:
        console.print(table(result), legend, about)


def _processors() -> int:
    import os

    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


if __name__ == "__main__":
    main()
