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
from rich.markup import escape
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


class RivalFailedError(Exception):
    """A rival could not be installed or did not run; the others go on."""


def rival_python(name: str) -> Path:
    """The interpreter of a rival's own environment, made at the first use."""
    python = RIVALS_HOME / name / "bin" / "python"
    ready = RIVALS_HOME / name / ".ready"
    if not ready.exists():
        requirements = HERE / f"requirements-{name}.txt"
        if not requirements.exists():
            raise RivalFailedError(f"no {requirements.name}")
        _quietly(sys.executable, "-m", "venv", RIVALS_HOME / name)
        _quietly(python, "-m", "pip", "install", "-q", "-r", requirements)
        ready.touch()
    return python


def _quietly(*command: object) -> str:
    try:
        done = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=900, check=False)
    except subprocess.TimeoutExpired as error:
        raise RivalFailedError("not done after 900 s") from error
    if done.returncode:
        raise RivalFailedError((done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1])
    return done.stdout


def rival_round(name: str, url: str, *, count: int, failures: dict[str, str]) -> dict[str, Row]:
    """One rival; why it failed goes into ``failures``, and it is left out of the rounds that follow."""
    if name in failures:
        return {}
    flush(url)

    def call() -> Row:
        said = _quietly(rival_python(name), HERE / "rivals.py", name, url, count)
        row: Row = json.loads(said.splitlines()[-1])
        return row

    try:
        return {name: measured(url, count, call)}
    except RivalFailedError as error:
        failures[name] = str(error)
        return {}


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


PEERS = {
    "tasks/s": ("per_s", "drain_per_s"),
    "worker µs": ("worker_us", "drain_client_us"),
    "server µs": ("server_us",),
    "bulk enqueue/s": ("bulk_per_s", "xadd_pipelined_per_s"),
}


def peers_table(result: dict[str, Row], failures: dict[str, str]) -> Table:
    """Everyone's rate and CPU per action: a peer per row, those that failed with the reason."""
    shown = Table(title="one worker process, no-op, results on; µs: CPU per action")
    shown.add_column("peer")
    for title in PEERS:
        shown.add_column(title, justify="right", no_wrap=True)
    for peer, row in result.items():
        shown.add_row(peer, *(_number(next((row[f] for f in of if f in row), None)) for of in PEERS.values()))
    for peer, reason in failures.items():
        shown.add_row(f"{peer}: failed: {escape(reason)}")
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
    failures: dict[str, str] = {}
    steps: list[Callable[[str], dict[str, Row]]] = [
        lambda url: floor_round(url, chosen.count),
        lambda url: ours_round(url, chosen.count, 100),
        lambda url: ours_round(url, chosen.count, 10_000),
        *(partial(rival_round, name, count=chosen.rival_count, failures=failures) for name in rivals),
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
        print(json.dumps({"about": about, "medians": result, "failed": failures}, indent=2))
    else:
        if chosen.scenario == "speed":
            console.print(peers_table(result, failures))
            result = {peer: row for peer, row in result.items() if peer == "bare" or peer.startswith("ours")}
        console.print(table(result), legend, about)


def _processors() -> int:
    import os

    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


if __name__ == "__main__":
    main()
