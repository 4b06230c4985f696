"""Tables of the commands that look: dense enough for 80 columns, numbers to the right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .console import out

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

WIDE = 100
"""From so many columns on there is room for what is nice to know."""


def table(texts: Sequence[str], numbers: Sequence[str], last: Sequence[str] = ()) -> Table:
    """An empty table: columns of text, then of numbers, then of text that may wrap."""
    from rich import box
    from rich.table import Table

    gap = 1 if out().width < WIDE else 2
    made = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, gap, 0, 0))
    for name in texts:
        made.add_column(name, no_wrap=True, overflow="ellipsis")
    for name in numbers:
        made.add_column(name, justify="right", no_wrap=True)
    for name in last:
        made.add_column(name, overflow="fold")
    return made


def wide() -> bool:
    """Whether there is room for what is nice to know."""
    return out().width >= WIDE


def marked(text: str, style: str, when: object = True) -> RenderableType:
    """The text, in colour when it deserves attention."""
    from rich.text import Text

    return Text(text, style=style if when else "")
