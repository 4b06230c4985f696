"""One supervised process: started in a group of its own, its lines handed on, ended with all it started."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process, SubprocessStreamProtocol
from collections.abc import Callable, Mapping
from pathlib import Path

from .procfile import ProcessSpec

_LAUNCHER = Path(__file__).with_name("launcher.py")
_GUARD = Path(__file__).with_name("guard.py")
_POLL_S = 0.02
_LONGEST_LINE = 64 * 1024

Emit = Callable[[str, str], None]
"""Called with the process's name and one line of its output."""


class Guard:
    """The process that ends the children of a supervisor that could not do it itself (kill -9)."""

    def __init__(self, grace_s: float) -> None:
        self._grace_s = grace_s
        self._process: Process | None = None

    async def start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", str(_GUARD), str(self._grace_s)),
            stdin=PIPE,
            stdout=DEVNULL,
            start_new_session=True,
        )

    def tell(self, sign: str, group: int) -> None:
        """`+`: a group began; `-`: it ended."""
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.write(f"{sign}{group}\n".encode())

    async def stop(self) -> None:
        """All children have ended: let it go."""
        process, self._process = self._process, None
        if process is not None and process.stdin is not None:
            process.stdin.close()
            await process.wait()


class _Told(SubprocessStreamProtocol):
    """Knows at once that a process has ended: `Process.wait` also waits for everybody who has its pipes."""

    def __init__(self) -> None:
        super().__init__(limit=_LONGEST_LINE, loop=asyncio.get_running_loop())
        self.ended = asyncio.Event()

    def process_exited(self) -> None:
        super().process_exited()
        self.ended.set()


class Child:
    """A running process. `exit_code` is negative for a signal, as subprocess has it."""

    def __init__(
        self,
        spec: ProcessSpec,
        transport: asyncio.SubprocessTransport,
        protocol: _Told,
        emit: Emit,
        guard: Guard,
    ) -> None:
        self.spec = spec
        self.pid = transport.get_pid()
        self.started = asyncio.get_running_loop().time()
        self._transport = transport
        self._ended = protocol.ended
        self._output = protocol.stdout
        self._guard = guard
        self._group_until = 0.0
        self._reader = asyncio.create_task(self._read(emit), name=f"nooble-output-{spec.name}")

    @classmethod
    async def start(
        cls, spec: ProcessSpec, *, environment: Mapping[str, str], folder: Path, emit: Emit, guard: Guard
    ) -> Child:
        """Start a process; what cannot be started exits at once with 127."""
        transport, protocol = await asyncio.get_running_loop().subprocess_exec(
            _Told,
            *(sys.executable, "-I", "-S", str(_LAUNCHER), str(os.getpid()), *spec.command),
            stdin=DEVNULL,
            stdout=PIPE,
            stderr=STDOUT,
            env={**environment, **spec.environment},
            cwd=folder,
            start_new_session=True,  # a group of its own; Ctrl-C in the terminal reaches the supervisor alone
        )
        guard.tell("+", transport.get_pid())
        return cls(spec, transport, protocol, emit, guard)

    async def wait(self) -> int:
        """Until the process has ended, and what it started with it. Returns the exit code.

        Its last lines may still be on their way: see `rest_of_output`.
        """
        await self._ended.wait()
        # No signal tells the end of a grandchild.
        while self.signal(0) and asyncio.get_running_loop().time() < self._group_until:  # noqa: ASYNC110
            await asyncio.sleep(_POLL_S)
        self.signal(signal.SIGKILL)
        self._guard.tell("-", self.pid)
        code = self._transport.get_returncode()
        assert code is not None
        return code

    async def rest_of_output(self) -> None:
        """After its end: hand on what it said last."""
        with contextlib.suppress(TimeoutError):  # a stranger outside of the group may hold the pipe open
            await asyncio.wait_for(asyncio.shield(self._reader), 1.0)
        self._reader.cancel()
        await asyncio.gather(self._reader, return_exceptions=True)
        self._transport.close()

    async def end(self, grace_s: float) -> int:
        """SIGTERM to the whole group, SIGKILL to what is left of it after `grace_s` seconds."""
        self._group_until = asyncio.get_running_loop().time() + grace_s
        self.signal(signal.SIGTERM)
        self.signal(signal.SIGCONT)  # who is stopped hears nothing else
        try:
            await asyncio.wait_for(self._ended.wait(), grace_s)
        except TimeoutError:
            self.signal(signal.SIGKILL)
        return await self.wait()

    def signal(self, number: int) -> bool:
        """Send to the whole group; False when nobody is left in it."""
        try:
            os.killpg(self.pid, number)
        except (ProcessLookupError, PermissionError):
            return False
        return True

    async def _read(self, emit: Emit) -> None:
        assert self._output is not None
        waiting = b""
        while chunk := await self._output.read(_LONGEST_LINE):
            *lines, waiting = (waiting + chunk).split(b"\n")
            if len(waiting) > _LONGEST_LINE:
                lines, waiting = [*lines, waiting], b""
            for line in lines:
                emit(self.spec.name, line.decode("utf-8", "replace").rstrip("\r"))
        if waiting:
            emit(self.spec.name, waiting.decode("utf-8", "replace"))
