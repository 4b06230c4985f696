"""Supervised processes in a terminal: their lines on stdout, Ctrl-C and SIGTERM end them gracefully."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from nooble_tasks.settings import CommonAppSettings

from .aftermath import TakingBack
from .output import PrefixedOutput
from .procfile import ProcessSpec
from .supervisor import SELF, Supervisor


async def supervise(
    specs: Sequence[ProcessSpec],
    *,
    environment: Mapping[str, str],
    folder: Path | None = None,
    reload: bool = False,
    announce: Callable[[Callable[[str], None]], None] | None = None,
    settings: CommonAppSettings | None = None,
) -> tuple[bool, bool]:
    """Run processes until all have ended; (none was given up, it was Ctrl-C that ended them).

    `settings`: those that the workers among them go by; None: what `environment` says for all services.
    """
    output = PrefixedOutput([spec.name for spec in specs])
    environment = {**environment, "PYTHONUNBUFFERED": "1"}
    if output.terminal:
        environment.setdefault("NOOBLE_LOG_FORMAT", "text")
    if announce is not None:
        announce(lambda line: output.line(SELF, line))
    if settings is None:
        url = environment.get("NOOBLE_REDIS_URL")
        settings = CommonAppSettings() if url is None else CommonAppSettings(redis_url=url)
    # What a worker needs to give back its actions after the grace of its handlers.
    grace_s = settings.drain_timeout_s + 5
    folder = folder or Path.cwd()
    supervisor = Supervisor(
        specs,
        environment=environment,
        folder=folder,
        emit=output.line,
        grace_s=grace_s,
        on_death=TakingBack(settings, lambda line: output.line(SELF, line)),
    )
    interrupted = _handle_signals(supervisor, output)
    watching = asyncio.create_task(_reload_on_change(supervisor, folder, output)) if reload else None
    try:
        ended_well = await supervisor.run()
    finally:
        if watching is not None:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
    output.line(SELF, "all processes have ended")
    return ended_well, interrupted.is_set()


def _handle_signals(supervisor: Supervisor, output: PrefixedOutput) -> asyncio.Event:
    interrupted = asyncio.Event()
    asked: list[int] = []

    def on_signal(number: int) -> None:
        if number == signal.SIGINT:
            interrupted.set()
        asked.append(number)
        hint = "stopping; once more to kill at once" if len(asked) == 1 else "killing what still runs"
        output.line(SELF, hint)
        supervisor.stop()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, on_signal, number)
    return interrupted


async def _reload_on_change(supervisor: Supervisor, folder: Path, output: PrefixedOutput) -> None:
    from watchfiles import awatch

    from .reload import CodeFilter

    with contextlib.suppress(asyncio.CancelledError):
        async for changes in awatch(folder, watch_filter=CodeFilter()):
            changed = sorted(Path(path).name for _, path in changes)
            output.line(SELF, f"changed: {', '.join(changed[:3])}{' …' if len(changed) > 3 else ''}")
            await supervisor.reload()
