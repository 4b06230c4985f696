"""Where commands write: results to stdout, everything else to stderr.

Colours and live displays only on a terminal and without NO_COLOR. Text is never read as markup: tenants'
names and error messages may contain anything.
"""

from __future__ import annotations

import json
import os
import sys
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

_WIDTH_OF_FILES = 120


@cache
def out() -> Console:
    """The console of stdout."""
    from rich.console import Console

    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else _WIDTH_OF_FILES
    return Console(markup=False, highlight=False, width=width)


@cache
def err() -> Console:
    """The console of stderr."""
    from rich.console import Console

    return Console(stderr=True, markup=False, highlight=False, soft_wrap=True)


def print_json(value: Any) -> None:
    """A value as JSON on stdout: indented for eyes, on one line for programs."""
    indent = 2 if sys.stdout.isatty() else None
    print(json.dumps(value, ensure_ascii=not _unicode(), indent=indent, default=str), flush=True)


def _unicode() -> bool:
    return (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"


def warn(message: str) -> None:
    """One line that is no result."""
    err().print(message, style="yellow")


def complain(message: str) -> None:
    """One line that says what went wrong and what to do."""
    from rich.text import Text

    from nooble_tasks.logs import escape

    lines = message.split("\n")
    err().print(Text.assemble(("nooble: ", "bold red"), escape(lines[0])))
    for line in lines[1:]:
        err().print(f"  {escape(line)}", style="dim")
