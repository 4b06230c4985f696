"""The exit codes of every command."""

from __future__ import annotations

OK = 0
FAILED = 1
USAGE = 2
INTERRUPTED = 130
"""Ctrl-C."""

EXPLAINED = "Exit codes: 0 ok, 1 failed, 2 wrong usage, 130 interrupted (Ctrl-C)."
