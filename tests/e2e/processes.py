"""Real processes for tests: started, watched by conditions with a deadline, and never left behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[2]
NOOBLE = (sys.executable, "-m", "nooble_tasks.cli")
PATIENCE_S = 30.0
NO_SETTINGS: Mapping[str, str] = {}


def alive(pid: int) -> bool:
    """Whether a process runs; one that only waits to be collected does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_until(condition: Callable[[], bool], what: str, patience_s: float = PATIENCE_S) -> None:
    """Look again and again until it holds."""
    deadline = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < deadline, f"waited {patience_s:g} s in vain: {what}"
        time.sleep(0.02)


async def until(condition: Callable[[], Awaitable[bool]], what: str, patience_s: float = PATIENCE_S) -> None:
    """The same in a coroutine."""
    deadline = time.monotonic() + patience_s
    while not await condition():
        assert time.monotonic() < deadline, f"waited {patience_s:g} s in vain: {what}"
        await asyncio.sleep(0.02)


class Running:
    """A `nooble` command; its output goes to a file, so that it never blocks."""

    def __init__(self, log: Path, *arguments: str, settings: Mapping[str, str], cwd: Path = ROOT) -> None:
        self.log = log
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **settings}
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [*NOOBLE, *arguments], cwd=cwd, env=environment, stdout=output, stderr=subprocess.STDOUT
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def output(self) -> str:
        return self.log.read_text()

    def send(self, number: int) -> None:
        self.process.send_signal(number)

    def wait(self, timeout: float = PATIENCE_S) -> int:
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {timeout:g} s:\n{self.output}") from None


@contextlib.contextmanager
def running(
    log: Path, *arguments: str, settings: Mapping[str, str] = NO_SETTINGS, cwd: Path = ROOT
) -> Iterator[Running]:
    """A command for the length of the block."""
    started = Running(log, *arguments, settings=settings, cwd=cwd)
    try:
        yield started
    finally:
        if started.process.poll() is None:
            started.send(signal.SIGKILL)
        started.process.wait()


def run(
    *arguments: str,
    settings: Mapping[str, str] = NO_SETTINGS,
    stdin: str = "",
    cwd: Path = ROOT,
    timeout: float = 50,
) -> subprocess.CompletedProcess[str]:
    """A command to its end."""
    environment: Mapping[str, str] = {**os.environ, "PYTHONPATH": str(ROOT), **settings}
    return subprocess.run(
        [*NOOBLE, *arguments],
        cwd=cwd,
        env=environment,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
