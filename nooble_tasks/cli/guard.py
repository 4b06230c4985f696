"""Ends the process groups of a supervisor that was itself killed. One per supervisor, on every platform.

Run as a plain script (standard library only). The supervisor holds the other end of our standard input; the
kernel closes it even after SIGKILL, and end of file is our order.

    stdin    lines `+<group>` and `-<group>`: a process group began, ended
    argv[1]  seconds between SIGTERM and SIGKILL
"""

from __future__ import annotations

import os
import signal
import sys
import time


def main(grace_s: float) -> None:
    """Follow the supervisor to its end, then end what is left."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    groups: set[int] = set()
    for line in sys.stdin:
        group = int(line[1:])
        if line.startswith("+"):
            groups.add(group)
        else:
            groups.discard(group)
    _signal(groups, signal.SIGTERM)
    _signal(groups, signal.SIGCONT)  # who is stopped hears nothing else
    deadline = time.monotonic() + grace_s
    while _signal(groups, 0) and time.monotonic() < deadline:
        time.sleep(0.05)
    _signal(groups, signal.SIGKILL)


def _signal(groups: set[int], number: int) -> bool:
    """Whether any of the groups is still there."""
    found = False
    for group in groups:
        try:
            os.killpg(group, number)
            found = True
        except (ProcessLookupError, PermissionError):
            pass
    return found


if __name__ == "__main__":
    main(float(sys.argv[1]))
