"""The system that the demo runs: a temporary server and the Procfile's workers as real processes."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from nooble_tasks._engine import Engine, inspection
from nooble_tasks.embedded import EmbeddedServer
from nooble_tasks.errors import NoobleError

from .demo_application import Application
from .procfile import read_procfile, with_own_bin
from .supervisor import Supervisor

_LINES_KEPT = 200
_READY_WITHIN_S = 60.0
_POLL_S = 0.05


class DemoFailed(NoobleError):  # noqa: N818  says what happened, as its siblings do
    """The demo could not run to its end."""

    code = "demo_failed"


class DemoSystem:
    """Started on entering, gone on leaving: no process and no file stays."""

    def __init__(self, application: Application, processes: Sequence[str]) -> None:
        self.server = EmbeddedServer(persist=False)
        self.lines: deque[str] = deque(maxlen=_LINES_KEPT)
        self._application = application
        self._specs = read_procfile(application.procfile, processes)
        self._supervisor: Supervisor | None = None
        self._running: asyncio.Task[bool] | None = None

    async def __aenter__(self) -> Self:
        self.server.start()
        environment = {
            **os.environ,
            "NOOBLE_REDIS_URL": self.server.url,
            "NOOBLE_LOG_FORMAT": "text",
            "NOOBLE_LOG_LEVEL": "WARNING",
            "NOOBLE_TIERS_FILE": str(self._application.folder / "config" / "tiers.toml"),
            "PYTHONUNBUFFERED": "1",
        }
        self._supervisor = Supervisor(
            self._specs,
            environment=with_own_bin(environment),
            folder=self._application.folder,
            emit=self._emit,
            grace_s=10.0,
        )
        self._running = asyncio.create_task(self._supervisor.run())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self.stop_workers()
        finally:
            self.server.stop()

    async def stop_workers(self) -> None:
        """End the workers gracefully."""
        if self._supervisor is not None and self._running is not None:
            self._supervisor.stop()
            await self._running

    async def ready(self, engine: Engine, domains: Sequence[str]) -> None:
        """Every domain has a worker. Raises DemoFailed, with the workers' last words."""
        deadline = asyncio.get_running_loop().time() + _READY_WITHIN_S
        while True:
            counts = [await inspection.domain_counts(engine, domain) for domain in domains]
            if all(each.workers for each in counts):
                return
            if asyncio.get_running_loop().time() > deadline:
                raise self.failure(f"no worker was ready within {_READY_WITHIN_S:g} s")
            self.check()
            await asyncio.sleep(_POLL_S)

    def check(self) -> None:
        """Raises DemoFailed when the workers were given up."""
        if self._running is not None and self._running.done():
            self._running.result()
            raise self.failure("the workers ended")

    async def ended(self) -> None:
        """When the workers have ended."""
        assert self._running is not None
        await asyncio.wait((self._running,))

    def failure(self, what: str) -> DemoFailed:
        """With what the workers said last."""
        said = "\n".join(list(self.lines)[-15:]) or "(they said nothing)"
        return DemoFailed(f"{what}. Next step: look at what the workers said last:\n{said}")

    def _emit(self, name: str, line: str) -> None:
        self.lines.append(f"{name or 'nooble'} | {line}")
