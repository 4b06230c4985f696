"""Who is compared: ours and the rivals, and how their processes are started.

A rival's environment, ``.venv-rivals/<name>``, is made at its first use from its pinned requirements.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from .processes import ROOT, Role, RoleFailedError, Row, role

RIVALS = Path(__file__).with_name("rivals")
HOME = ROOT / ".venv-rivals"
NODE = {"bullmq"}
PYTHON = ("arq", "saq", "streaq", "taskiq", "dramatiq", "celery")
ALL = (*PYTHON, *sorted(NODE))
TITLES = {
    "ours": "nooble-tasks",
    "arq": "arq",
    "saq": "SAQ",
    "streaq": "streaQ",
    "taskiq": "taskiq-redis",
    "dramatiq": "dramatiq",
    "celery": "Celery",
    "bullmq": "BullMQ (Node)",
}


@dataclass(frozen=True)
class Peer:
    """One of those that are compared."""

    name: str

    def start(self, does: str, **order: Any) -> Role:
        """A process of this peer; the caller ends it."""
        command, environment = _command(self.name)
        return Role([*command, does, json.dumps(order)], environment)

    def run(self, does: str, *, limit_s: float = 150.0, **order: Any) -> Row:
        """Run a process of this peer to its end; what it measured."""
        command, environment = _command(self.name)
        with role([*command, does, json.dumps(order)], environment) as process:
            row: Row = process.row(limit_s)
            return row

    def about(self) -> dict[str, str]:
        """Version, and settings in words."""
        if self.name in NODE:
            return _about_bullmq()
        said: Any = self.run("about", url="")
        return dict(said)


OURS = Peer("ours")


def missing(name: str) -> str:
    """Why a rival cannot run here; empty if it can."""
    if name not in ALL:
        return f"unknown; there are {', '.join(ALL)}"
    if name in NODE and not (shutil.which("node") and shutil.which("npm")):
        return "skipped: it needs node and npm, which are not on PATH"
    return ""


def _command(name: str) -> tuple[list[object], dict[str, str]]:
    if name == "ours":
        return [sys.executable, "-m", "benchmarks.ours"], {}
    home = environment(name)
    if name in NODE:
        return ["node", RIVALS / f"{name}.mjs"], {"RIVAL_HOME": str(home), "NODE_ENV": "production"}
    return [home / "bin" / "python", "-m", "benchmarks.rivals", name], {"PYTHONPATH": str(ROOT)}


@cache
def environment(name: str) -> Path:
    """The folder of a rival's environment, made at the first use."""
    home, requirements = HOME / name, RIVALS / f"requirements-{name}.txt"
    ready, pins = home / ".ready", requirements.read_text(encoding="utf-8")
    if ready.exists() and ready.read_text(encoding="utf-8") == pins:
        return home
    if name in NODE:
        home.mkdir(parents=True, exist_ok=True)
        (home / "package.json").write_text('{"private": true}\n', encoding="utf-8")
        packages = [line.replace("==", "@") for line in pins.splitlines()]
        quiet = ("--no-save", "--no-audit", "--no-fund", "--ignore-scripts")  # its native helper comes built
        _quietly("npm", "install", "--prefix", home, *quiet, *packages)
    else:
        _quietly(sys.executable, "-m", "venv", home)
        _quietly(home / "bin" / "python", "-m", "pip", "install", "-q", "-r", requirements)
    ready.write_text(pins, encoding="utf-8")
    return home


def _quietly(*command: object) -> None:
    try:
        done = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=600, check=False)
    except subprocess.TimeoutExpired as error:
        raise RoleFailedError("its environment was not made within 600 s") from error
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        raise RoleFailedError(f"its environment could not be made: {lines[-1]}")


def _about_bullmq() -> dict[str, str]:
    package = json.loads((environment("bullmq") / "node_modules/bullmq/package.json").read_text("utf-8"))
    return {
        "version": package["version"],
        "best": "concurrency 100, ioredis, results kept an hour; many are enqueued by addBulk, 100 per call, "
        "two calls under way",
        "ranks": "priority = the tenant's own sequence number",
        "tuned": "lockDuration 3 s, stalledInterval 1 s, maxStalledCount 3",
    }
