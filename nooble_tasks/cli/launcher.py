"""Becomes a supervised program, after asking the kernel to end it together with its supervisor.

Run as a plain script (standard library only); it replaces itself, so no extra process stays.

    argv[1]   process id of the supervisor
    argv[2:]  the program and its arguments
"""

from __future__ import annotations

import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main(supervisor: int, command: list[str]) -> int:
    """Only returns when the program cannot be started."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != supervisor:  # it ended before the kernel knew
            return 1
    try:
        os.execvp(command[0], command)
    except OSError as error:
        print(f"{command[0]} cannot be started: {error.strerror}", file=sys.stderr)
    return 127


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2:]))
