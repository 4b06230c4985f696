"""The folder of an embedded server: where it is, who holds it, and what it says about itself.

lock          held (flock) by every process that may write here: owner, keeper, server. Truth about
              "is one running": the kernel lets go when the last of them ends, so it is never stale.
server.json   url and process ids of the server that runs; a hint, believed only while the lock is held
server.conf   written at each start          server.log   of the newest start          redis.sock
appendonly…   the data
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
import time
from pathlib import Path
from typing import Any

from .embedded_binaries import EmbeddedServerError

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_LOCK_PATIENCE_S = 5.0


def state_root() -> Path:
    """The per-user folder for data of this package, by the platform's custom; XDG_STATE_HOME wins."""
    if configured := os.environ.get("XDG_STATE_HOME"):
        return Path(configured) / "nooble-tasks"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "nooble-tasks"
    return Path.home() / ".local" / "state" / "nooble-tasks"


def project_of(folder: Path) -> str:
    """A name for the project in `folder`: readable, and different for two folders of the same name."""
    resolved = folder.resolve()
    digest = hashlib.sha256(str(resolved).encode()).hexdigest()[:8]
    return f"{_UNSAFE.sub('-', resolved.name).strip('-.') or 'project'}-{digest}"


class ServerFolder:
    """One server's files and the lock on them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lock = path / "lock"
        self.record = path / "server.json"
        self.config = path / "server.conf"
        self.log = path / "server.log"
        self.socket = path / "redis.sock"
        self.scraps = (self.record, self.config, self.socket)
        """What must not outlive a server."""

    @classmethod
    def of_project(cls, project: str) -> ServerFolder:
        """Raises ValueError for a name that would leave the state folder."""
        if _UNSAFE.search(project) or not project.strip("."):
            raise ValueError(
                f"project {project!r} is not usable as a folder name; use letters, digits, '.', '_' and '-', "
                "or embedded.project_of(path)"
            )
        return cls(state_root() / project)

    def acquire(self) -> int:
        """Make the folder and lock it; returns the descriptor that holds the lock.

        Waits a few seconds for a server whose owner has just died. Raises EmbeddedServerError when a living
        owner holds the folder or it cannot be written.
        """
        descriptor = self._open_lock()
        deadline = time.monotonic() + _LOCK_PATIENCE_S
        while not _try_lock(descriptor):
            holder = self._read_record()
            if _is_alive(holder.get("owner_pid")) or time.monotonic() > deadline:
                os.close(descriptor)
                raise EmbeddedServerError(self._held_by(holder))
            time.sleep(0.02)  # the kernel offers no wait with a time limit for this lock
        return descriptor

    def is_held(self) -> bool:
        """True while any process of a server of this folder lives."""
        if not self.lock.exists():
            return False
        descriptor = self._open_lock()
        try:
            return not _try_lock(descriptor)
        finally:
            os.close(descriptor)

    def write_private(self, path: Path, text: str) -> None:
        """Replace a file in one step, readable by the user alone (the url may carry a password)."""
        fresh = path.with_name(f"{path.name}.{os.getpid()}")
        fresh.touch(mode=0o600)
        fresh.write_text(text)
        fresh.replace(path)

    def running_url(self) -> str | None:
        """The address of the server that runs here, whoever owns it; None when none does."""
        if not self.is_held():
            return None
        url = self._read_record().get("url")
        return url if isinstance(url, str) else None

    def last_log_lines(self, count: int = 8) -> str:
        try:
            lines = self.log.read_text(errors="replace").splitlines()
        except OSError:
            return ""
        return "\n".join(f"  | {line}" for line in lines[-count:] if line.strip())

    def _open_lock(self) -> int:
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            return os.open(self.lock, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise EmbeddedServerError(
                f"the embedded server's folder {self.path} cannot be used: {error.strerror}. Next step: "
                "make it writable, set XDG_STATE_HOME to a folder that is, or NOOBLE_REDIS_URL to a server."
            ) from error

    def _read_record(self) -> dict[str, Any]:
        try:
            record = json.loads(self.record.read_text())
        except (OSError, ValueError):
            return {}
        return record if isinstance(record, dict) else {}

    def _held_by(self, holder: dict[str, Any]) -> str:
        owner, url = holder.get("owner_pid"), holder.get("url")
        who = f"process {owner}" if owner else "another process"
        share = f"use its server too (NOOBLE_REDIS_URL={url})" if url else "wait until it has started"
        return (
            f"the embedded server's folder {self.path} is in use by {who}. Next step, one of: {share}; "
            "end that process; or give this one another project name."
        )


def _try_lock(descriptor: int) -> bool:
    if sys.platform == "win32":
        raise EmbeddedServerError(
            "an embedded server needs Linux or macOS. Next step: set NOOBLE_REDIS_URL to a running server."
        )
    import fcntl  # absent on Windows, where a server elsewhere can still be used

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_alive(pid: object) -> bool:
    if not isinstance(pid, int) or pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
