"""The Procfile: which processes a project runs, one `name: command` per line."""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from nooble_tasks.errors import ConfigurationError, did_you_mean

_LINE = re.compile(r"([A-Za-z0-9_-]+)\s*:\s*(\S.*)")
_NEEDS_SHELL = re.compile(r"[|&;<>()$`*?\[\]~#\n]")
_ASSIGNMENT = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=(.*)", re.DOTALL)


class ProcessSpec(NamedTuple):
    """A process to run: its name, its program with arguments, and what is added to its environment."""

    name: str
    command: tuple[str, ...]
    environment: dict[str, str]


def read_procfile(path: Path, names: Sequence[str] = ()) -> list[ProcessSpec]:
    """The processes of a Procfile, or those of them that are named. Raises ConfigurationError."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(
            f"{path}: {error.strerror}. Next step: write one with a line such as "
            "`worker: nooble worker services.greeting`, or name another with --procfile"
        ) from None
    found: dict[str, ProcessSpec] = {}
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        match = _LINE.fullmatch(line)
        if match is None:
            raise ConfigurationError(f"{path}, line {number}: {line!r} is not `name: command`")
        name, command = match.groups()
        if name in found:
            raise ConfigurationError(f"{path}, line {number}: there are two processes named {name!r}")
        found[name] = spec_of(name, command)
    for name in names:
        if name not in found:
            raise ConfigurationError(
                f"{path} has no process {name!r}{did_you_mean(name, found)}; "
                f"it has {', '.join(found) or 'none'}"
            )
    if not found:
        raise ConfigurationError(f"{path} names no process; write lines such as `worker: nooble worker …`")
    return [spec for name, spec in found.items() if not names or name in names]


def spec_of(name: str, command: str) -> ProcessSpec:
    """A command line as a process: run directly where that means the same, else by the shell."""
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise ConfigurationError(f"process {name!r}: {command!r} cannot be read: {error}") from None
    environment: dict[str, str] = {}
    if _NEEDS_SHELL.search(command):
        return ProcessSpec(name, ("/bin/sh", "-c", command), environment)
    while words and (match := _ASSIGNMENT.fullmatch(words[0])):
        environment[match.group(1)] = match.group(2)
        words.pop(0)
    if not words:
        raise ConfigurationError(f"process {name!r} has no command")
    if words[0] == "nooble":
        words[:1] = own_command()
    return ProcessSpec(name, tuple(words), environment)


def own_command() -> list[str]:
    """How to run `nooble` from the environment that runs this, whatever is on PATH."""
    return [sys.executable, "-m", "nooble_tasks.cli"]


def with_own_bin(environment: dict[str, str]) -> dict[str, str]:
    """The environment with this Python's scripts first on PATH, for commands that a shell runs."""
    path = environment.get("PATH", os.defpath)
    return {**environment, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{path}"}
