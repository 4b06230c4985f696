"""Processes of a run: each is bounded in time, speaks by lines, and ends with the run, however that ends."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
Row = dict[str, float]


class RoleFailedError(Exception):
    """A process of a measurement ended badly or took too long."""


class Role:
    """A process in a session of its own, so that Ctrl-C reaches the run alone and the run ends its processes.

    It is told to ``go`` on its standard input and ends when that is closed.
    """

    def __init__(self, command: Sequence[object], environment: Mapping[str, str] | None = None) -> None:
        self._stderr = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115 - closed in end()
        self._process = subprocess.Popen(
            [*map(str, command)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            text=True,
            cwd=ROOT,
            env={**os.environ, **(environment or {})},
            start_new_session=True,
        )
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put("")

    def line(self, within_s: float = 30.0) -> str:
        """The next line it says; raises RoleFailedError, with the reason, when none comes."""
        try:
            line = self._lines.get(timeout=within_s)
        except queue.Empty:
            raise RoleFailedError(f"said nothing for {within_s:.0f} s") from None
        if not line:
            raise RoleFailedError(self.reason())
        return line

    def row(self, within_s: float = 150.0) -> Any:
        """What it measured: its next line of JSON."""
        until = time.monotonic() + within_s
        while not (line := self.line(max(0.1, until - time.monotonic()))).startswith(("{", "[")):
            pass
        return json.loads(line)

    def reason(self) -> str:
        """The last line of what it complained about."""
        self._process.wait(10)
        self._stderr.seek(0)
        lines = self._stderr.read().strip().splitlines()
        return lines[-1][:300] if lines else f"ended with status {self._process.returncode}"

    def cpu_s(self) -> float:
        """CPU seconds it has used; 0 where the system does not tell."""
        try:
            said = Path(f"/proc/{self._process.pid}/stat").read_text(encoding="utf-8")
        except OSError:
            return 0.0
        user, system = said.rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    def go(self) -> None:
        """Begin."""
        assert self._process.stdin
        self._process.stdin.write("go\n")
        self._process.stdin.flush()

    def end(self) -> None:
        """Kill it and its children, as a crash would."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._reader.join(5)
        for stream in (self._process.stdin, self._process.stdout, self._stderr):
            if stream:
                with contextlib.suppress(OSError):
                    stream.close()


@contextmanager
def role(command: Sequence[object], environment: Mapping[str, str] | None = None) -> Iterator[Role]:
    """A role for the length of the block."""
    started = Role(command, environment)
    try:
        yield started
    finally:
        started.end()
