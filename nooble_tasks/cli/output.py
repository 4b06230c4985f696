"""The lines of several processes in one terminal: each behind its process's name, in its colour."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TextIO

_COLOURS = (36, 33, 32, 35, 34, 96, 93, 92, 95, 94)


class PrefixedOutput:
    """Writes one line at a time, whole, so that lines of different processes never mix."""

    def __init__(self, names: Sequence[str], stream: TextIO | None = None) -> None:
        self._stream = sys.stdout if stream is None else stream
        self._width = max((len(name) for name in [*names, "nooble"]), default=0)
        self._colour_of = {name: _COLOURS[i % len(_COLOURS)] for i, name in enumerate(names)}
        self._colours = self._stream.isatty() and not os.environ.get("NO_COLOR")

    @property
    def terminal(self) -> bool:
        """Whether somebody looks at it."""
        return self._stream.isatty()

    def line(self, name: str, text: str) -> None:
        """One line of the process `name`; of the supervisor when it is empty."""
        prefix = f"{name or 'nooble':<{self._width}} |"
        if self._colours:
            prefix = f"\x1b[{self._colour_of.get(name, '1;37')}m{prefix}\x1b[0m"
        try:
            self._stream.write(f"{prefix} {text}\n")
            self._stream.flush()
        except (BrokenPipeError, ValueError):
            pass  # nobody reads any more; the processes go on
