"""Keeps a set of processes running: restarts what crashes, gives up on what cannot start, ends them all."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .child import Child, Emit, Guard
from .procfile import ProcessSpec

_HOPELESS = frozenset({2, 126, 127})
"""Exit codes of wrong usage and of programs that do not exist: trying again changes nothing."""

_AFTERMATH_S = 5.0
"""So long is waited for what follows a death, where something depends on it."""

SELF = ""
"""The name under which the supervisor's own lines are emitted."""


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """A process that ends with an error within `quick_s` seconds, `give_up` times in a row, is given up.

    `backoff_s` are the pauses before the restarts; the last one is repeated.
    """

    backoff_s: Sequence[float] = (0.5, 1.0, 2.0, 4.0, 8.0)
    quick_s: float = 10.0
    give_up: int = 5


class Supervisor:
    """Runs processes until `stop`, until all have ended well, or until one is given up.

    `on_death(pid)` is called when one has ended with an error or by a signal; it tells whether the process
    died of its work. Then it could start, and is started again however often that happens.
    """

    def __init__(
        self,
        specs: Sequence[ProcessSpec],
        *,
        environment: Mapping[str, str],
        folder: Path,
        emit: Emit,
        grace_s: float = 30.0,
        restarts: RestartPolicy | None = None,
        on_death: Callable[[int], Awaitable[bool]] | None = None,
    ) -> None:
        self._specs = list(specs)
        self._environment = dict(environment)
        self._folder = folder
        self._emit = emit
        self._grace_s = grace_s
        self._restarts = restarts or RestartPolicy()
        self._on_death = on_death
        self._aftermaths: set[asyncio.Task[bool]] = set()
        self._guard = Guard(grace_s)
        self._children: dict[str, Child] = {}
        self._stopping = asyncio.Event()
        self._at_once = asyncio.Event()
        self._reloading: set[str] = set()
        self._given_up = ""

    @property
    def pids(self) -> dict[str, int]:
        """Process ids by name, of those that run now."""
        return {name: child.pid for name, child in self._children.items()}

    @property
    def given_up(self) -> str:
        """The name of the process that was given up, empty when none was."""
        return self._given_up

    def stop(self) -> None:
        """End everything gracefully; asked a second time, at once."""
        if self._stopping.is_set():
            self._at_once.set()
        self._stopping.set()

    async def run(self) -> bool:
        """Returns when every process has ended; False when one was given up."""
        await self._guard.start()
        try:
            await asyncio.gather(*(self._keep(spec) for spec in self._specs))
        finally:
            for child in self._children.values():
                child.signal(signal.SIGKILL)
            await self._guard.stop()
            await self._end_aftermaths()
        return not self._given_up

    async def reload(self) -> None:
        """Restart everything, one after the other, gracefully."""
        for name, child in list(self._children.items()):
            self._reloading.add(name)
            await self._end(child)

    async def _keep(self, spec: ProcessSpec) -> None:
        """One process from its first start to its last end."""
        crashes = 0
        while not self._stopping.is_set():
            child = await Child.start(
                spec, environment=self._environment, folder=self._folder, emit=self._emit, guard=self._guard
            )
            self._children[spec.name] = child
            code = await self._outcome(child)
            del self._children[spec.name]
            aftermath = self._begin_aftermath(child.pid) if code else None
            await child.rest_of_output()
            if self._stopping.is_set():
                return
            if spec.name in self._reloading:
                self._reloading.discard(spec.name)
                self._say(f"{spec.name} restarts with the changed code")
                continue
            if code == 0:
                self._say(f"{spec.name} has ended")
                return
            lived = asyncio.get_running_loop().time() - child.started
            crashes = crashes + 1 if lived < self._restarts.quick_s else 1
            if code in _HOPELESS:
                self._give_up(spec.name, code, crashes)
                return
            if crashes >= self._restarts.give_up:
                if not await self._died_of_its_work(aftermath):
                    self._give_up(spec.name, code, crashes)
                    return
                crashes = self._restarts.give_up - 1
            await self._pause(spec.name, code, crashes)

    def _begin_aftermath(self, pid: int) -> asyncio.Task[bool] | None:
        if self._on_death is None:
            return None
        aftermath = asyncio.ensure_future(self._on_death(pid))
        self._aftermaths.add(aftermath)
        aftermath.add_done_callback(self._aftermaths.discard)
        return aftermath

    async def _died_of_its_work(self, aftermath: asyncio.Task[bool] | None) -> bool:
        if aftermath is None:
            return False
        await asyncio.wait((aftermath,), timeout=_AFTERMATH_S)
        return aftermath.done() and not aftermath.cancelled() and aftermath.result()

    async def _end_aftermaths(self) -> None:
        left = set(self._aftermaths)
        if left:
            await asyncio.wait(left, timeout=_AFTERMATH_S)
        for aftermath in left:
            aftermath.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    async def _outcome(self, child: Child) -> int:
        """Wait for the end of a process, or bring it about when everything stops."""
        ended = asyncio.ensure_future(child.wait())
        stopped = asyncio.ensure_future(self._stopping.wait())
        await asyncio.wait((ended, stopped), return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if not ended.done():
            await self._end(child)
        return await ended

    async def _end(self, child: Child) -> None:
        ending = asyncio.ensure_future(child.end(self._grace_s))
        at_once = asyncio.ensure_future(self._at_once.wait())
        await asyncio.wait((ending, at_once), return_when=asyncio.FIRST_COMPLETED)
        at_once.cancel()
        if not ending.done():
            child.signal(signal.SIGKILL)
        await ending

    async def _pause(self, name: str, code: int, crashes: int) -> None:
        pauses = self._restarts.backoff_s
        pause = pauses[min(crashes, len(pauses)) - 1]
        self._say(f"{name} {how_it_ended(code)}; it restarts in {pause:g} s")
        try:
            await asyncio.wait_for(self._stopping.wait(), pause)
        except TimeoutError:
            pass

    def _give_up(self, name: str, code: int, crashes: int) -> None:
        times = f", {crashes} times in a row" if crashes > 1 else ""
        self._say(
            f"{name} {how_it_ended(code)}{times}: given up, everything stops. "
            f"Next step: remove the cause that its last lines above name, then start again"
        )
        self._given_up = name
        self._stopping.set()

    def _say(self, line: str) -> None:
        self._emit(SELF, line)


def how_it_ended(code: int) -> str:
    """An exit code in words."""
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"
