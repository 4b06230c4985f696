"""Signals to a worker's process."""

from __future__ import annotations

import asyncio
import signal

from .phase import Phase

STOP = (signal.SIGTERM, signal.SIGINT)
QUIET, DRAIN = signal.SIGUSR1, signal.SIGUSR2
TOGETHER_S = 0.5
"""Two within so short a time are one: the death of a supervisor is told by the kernel and by its guard."""


def install(phase: Phase) -> None:
    """SIGTERM and SIGINT stop it gracefully, a second one at once; SIGUSR1: quiet, SIGUSR2: drain."""
    loop = asyncio.get_running_loop()
    first_s: float | None = None

    def stop() -> None:
        nonlocal first_s
        if first_s is not None and loop.time() - first_s < TOGETHER_S:
            return
        first_s = first_s or loop.time()
        phase.stop(0 if phase.state == "stopping" else None)

    for number in STOP:
        loop.add_signal_handler(number, stop)
    loop.add_signal_handler(QUIET, phase.quiet)
    loop.add_signal_handler(DRAIN, phase.drain)
