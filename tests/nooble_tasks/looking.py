"""Runs a `nooble` command inside the test's process: quick, and its output is at hand."""

from __future__ import annotations

import asyncio
import contextlib
import io
from itertools import takewhile
from typing import NamedTuple

import pytest

from nooble_tasks.cli import console
from nooble_tasks.cli.app import run


class Done(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def table(self) -> list[str]:
        """The rows of the table, from below its rule to the first blank line."""
        lines = self.out.splitlines()
        rule = next(at for at, line in enumerate(lines) if set(line.strip()) == {"─"})
        return list(takewhile(str.strip, lines[rule + 1 :]))

    @property
    def text(self) -> str:
        """What was printed, its lines joined: where they break depends on the width."""
        return " ".join(self.out.split())


class Nooble:
    """`await nooble("limits", "acme", columns=80)`."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._patch = patch

    async def __call__(self, *arguments: str, columns: int = 120) -> Done:
        self._patch.setenv("COLUMNS", str(columns))
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            for made in (console.out, console.err):
                made.cache_clear()
            try:
                code = await asyncio.to_thread(run, arguments)
            finally:
                for made in (console.out, console.err):
                    made.cache_clear()
        return Done(code, out.getvalue(), err.getvalue())
