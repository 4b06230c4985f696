"""The exit codes of every command."""

from __future__ import annotations

OK = 0
FAILED = 1
USAGE = 2
INTERRUPTED = 130
"""Ctrl-C."""


class Ended(Exception):  # noqa: N818
    """A command ends here: what to tell (further lines: the next step), and its exit code."""

    def __init__(self, message: str, exit_code: int = FAILED, *, code: str = "") -> None:
        self.exit_code = exit_code
        self.code = code or ("wrong_usage" if exit_code == USAGE else "failed")
        super().__init__(message)


EXPLAINED = "Exit codes: 0 ok, 1 failed, 2 wrong usage, 130 interrupted (Ctrl-C)."
