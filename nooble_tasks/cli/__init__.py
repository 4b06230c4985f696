"""The command line: `nooble`. `app.py` lists the commands; each has a file of its own."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import NoReturn

from .exits import INTERRUPTED


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run a command and end the process with its exit code."""
    try:
        from .app import run

        code = run(sys.argv[1:] if arguments is None else list(arguments))
    except KeyboardInterrupt:
        code = INTERRUPTED
    sys.exit(code)
