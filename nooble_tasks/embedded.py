"""A Redis or Valkey server of one's own: started without root or Docker, ended with its owner.

    with EmbeddedServer("my-project") as server:
        print(server.url)

`resolve_redis_url` is what programs want: the configured server, else the one that already runs for this
project, else a new one.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from .embedded_address import Address, answers, choose_address, quoted
from .embedded_binaries import EmbeddedServerError, ServerBinary, candidates, choose_binary, identify
from .embedded_folder import ServerFolder, project_of, state_root

__all__ = [
    "EmbeddedServer",
    "EmbeddedServerError",
    "ResolvedRedis",
    "ServerBinary",
    "candidates",
    "project_of",
    "resolve_redis_url",
    "running_server_url",
    "state_root",
]

URL_VARIABLE = "NOOBLE_REDIS_URL"

_KEEPER = Path(__file__).with_name("embedded_keeper.py")
_STOP_GRACE_S = 10.0
_PORT_ATTEMPTS = 5

_OPTIONS: dict[str, str] = {
    "daemonize": "no",
    "appendonly": "yes",  # an acknowledged action survives the end of the server
    "appendfsync": "everysec",
    "save": '""',  # the append-only file is the only copy on disk
    "maxmemory-policy": "noeviction",  # streams are work, not cache
    "lazyfree-lazy-expire": "yes",
    "stream-node-max-bytes": "1024",  # what a stream's first entry costs; most tenants have few entries
    "tcp-keepalive": "60",
}


class EmbeddedServer:
    """A server process that belongs to this one and ends with it, even when this one is killed with SIGKILL.

    `project`      names the folder of its data (see `state_root`); one server per project at a time
    `persist`      False: an own temporary folder, removed at the end, and `project` is not used
    `binary`       a server program; default: the best one found on this machine
    `port`         None: a unix socket, or a free port where sockets do not work; 0: a free port; else that
                   port. Ports are bound to 127.0.0.1 and protected by a random password (part of `url`).
    `options`      server configuration on top of ours, values as in its configuration file
    `start_timeout`  seconds to wait until it answers, loading of its data included

    Processes made by `os.fork` without `exec` keep the server alive as long as they live.
    """

    def __init__(
        self,
        project: str = "default",
        *,
        persist: bool = True,
        binary: Path | str | None = None,
        port: int | None = None,
        options: Mapping[str, str] | None = None,
        start_timeout: float = 60.0,
    ) -> None:
        self.persist = persist
        self._folder = ServerFolder.of_project(project) if persist else None
        self._given_binary = Path(binary) if binary is not None else None
        self._binary: ServerBinary | None = None
        self._wanted_port = port
        self._options = dict(options or {})
        self._start_timeout = start_timeout
        self._keeper: subprocess.Popen[bytes] | None = None
        self._pid = 0
        self._address: Address | None = None

    @property
    def url(self) -> str:
        """The address for redis-py. Raises EmbeddedServerError before `start`."""
        if self._address is None:
            raise EmbeddedServerError("the embedded server is not started. Next step: call start() first.")
        return self._address.url

    @property
    def pid(self) -> int:
        """The server's process id, 0 when it is not started."""
        return self._pid

    @property
    def binary(self) -> ServerBinary:
        """Which program runs (kind, version, path). Raises EmbeddedServerError when none is found."""
        if self._binary is None:
            self._binary = identify(self._given_binary) if self._given_binary else choose_binary()
        return self._binary

    @property
    def kind(self) -> str:
        """`redis` or `valkey`."""
        return self.binary.kind

    @property
    def version(self) -> str:
        return self.binary.version_text

    @property
    def data_folder(self) -> Path:
        """Where the data is. Raises EmbeddedServerError for a temporary server that is not started."""
        if self._folder is None:
            raise EmbeddedServerError("a temporary server has a folder only while started.")
        return self._folder.path

    @property
    def running(self) -> bool:
        """False before `start`, after `stop`, and once the server process has ended by itself."""
        return self._keeper is not None and self._keeper.poll() is None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> Self:
        """Start and wait until it answers. While running: nothing. After a crash: same data and url again.

        Raises EmbeddedServerError: no program, folder in use, port in use, or the program ended (the message
        carries its last log lines).
        """
        if self.running:
            return self
        self._reap()
        binary = self.binary
        if self._folder is None:
            self._folder = ServerFolder(Path(tempfile.mkdtemp(prefix="nooble-")))
        try:
            self._launch(binary, self._folder)
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """End the server and remove what is not data. Safe to call twice, and after a failed start."""
        self._reap()
        self._pid, self._address = 0, None
        if self._folder is not None and not self.persist:
            shutil.rmtree(self._folder.path, ignore_errors=True)
            self._folder = None

    def wait(self, timeout: float | None = None) -> int:
        """Wait until the server has ended by itself; returns its exit status (128 + n: signal n).

        Raises TimeoutError after `timeout` seconds, EmbeddedServerError before `start`.
        """
        if self._keeper is None:
            raise EmbeddedServerError("the embedded server is not started. Next step: call start() first.")
        try:
            return self._keeper.wait(timeout)
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"the server still runs after {timeout:g} s") from None

    def _launch(self, binary: ServerBinary, folder: ServerFolder) -> None:
        lock = folder.acquire()
        try:
            for attempt in range(1, _PORT_ATTEMPTS + 1):
                address = self._address or choose_address(folder, self._wanted_port)
                try:
                    self._spawn(binary, folder, lock, address)
                    self._wait_until_ready(binary, folder, address)
                    break
                except EmbeddedServerError as error:
                    # Between choosing a free port and binding it, another program may take it.
                    taken = "ddress already in use" in str(error)
                    if not taken or self._address or self._wanted_port or attempt == _PORT_ATTEMPTS:
                        raise
                    self._reap()
        finally:
            os.close(lock)
        self._address = address
        record = {"url": address.url, "pid": self._pid, "owner_pid": os.getpid(), "server": str(binary)}
        folder.write_private(folder.record, json.dumps(record))

    def _spawn(self, binary: ServerBinary, folder: ServerFolder, lock: int, address: Address) -> None:
        options = {**_OPTIONS, **self._options, **address.options, "dir": quoted(folder.path)}
        text = "".join(f"{name} {value}\n" for name, value in options.items())
        folder.write_private(folder.config, text)
        order = {
            "command": [str(binary.path), str(folder.config)],
            "log": str(folder.log),
            "lock_fd": lock,
            "scraps": [str(scrap) for scrap in folder.scraps],
            "temporary_folder": "" if self.persist else str(folder.path),
            "grace": _STOP_GRACE_S,
        }
        self._keeper = subprocess.Popen(
            [sys.executable, "-I", "-S", str(_KEEPER), json.dumps(order)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=(lock,),
            start_new_session=True,  # Ctrl-C in the terminal must reach the owner, not its server
            cwd=folder.path,
            # Some servers refuse to start under a locale that is not installed.
            env={**os.environ, "LC_ALL": "C"},
        )
        assert self._keeper.stdout is not None
        self._pid = int(self._keeper.stdout.readline() or 0)

    def _wait_until_ready(self, binary: ServerBinary, folder: ServerFolder, address: Address) -> None:
        assert self._keeper is not None
        deadline = time.monotonic() + self._start_timeout
        while not answers(address.url):
            if self._keeper.poll() is not None:
                raise EmbeddedServerError(self._last_words(f"{binary} ended before it was ready", folder))
            if time.monotonic() > deadline:
                waited = f"{binary} was not ready after {self._start_timeout:g} s"
                raise EmbeddedServerError(self._last_words(waited, folder))
            time.sleep(0.005)

    def _last_words(self, what: str, folder: ServerFolder) -> str:
        advice = "Next step: remove the cause below, or set NOOBLE_REDIS_URL to a running server."
        if self.persist:
            advice += f" Its data and log are in {folder.path}."
        return f"{what}. {advice}\n{folder.last_log_lines() or '  | (it said nothing)'}"

    def _reap(self) -> None:
        """End keeper and server if they still live, and collect them."""
        keeper, self._keeper = self._keeper, None
        if keeper is None:
            return
        assert keeper.stdin is not None
        assert keeper.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            keeper.stdin.close()  # the order to stop
        try:
            keeper.wait(timeout=_STOP_GRACE_S + 5)
        except subprocess.TimeoutExpired:
            keeper.kill()
            keeper.wait()
        keeper.stdout.close()
        if keeper.returncode < 0 and self._folder is not None:
            self._clean_up_for(self._folder)

    def _clean_up_for(self, folder: ServerFolder) -> None:
        """What the keeper would have done, had it not been killed itself."""
        if folder.is_held():  # so the server lives on, and its process id is still its own
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)
        for scrap in folder.scraps:
            scrap.unlink(missing_ok=True)


@dataclass(frozen=True)
class ResolvedRedis:
    """The server to use. A context manager: leaving it ends the server if it was started here."""

    url: str
    source: Literal["configured", "running", "started"]
    server: EmbeddedServer | None = None
    """Set when `source` is `started`: whoever resolved owns it."""

    def close(self) -> None:
        if self.server is not None:
            self.server.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def resolve_redis_url(
    configured: str | None = None,
    *,
    project: str | None = None,
    persist: bool = True,
    start: bool = True,
) -> ResolvedRedis:
    """The server this program uses: `configured`, else NOOBLE_REDIS_URL, else this project's own.

    The project (default: the current folder) shares one embedded server between its processes: if another one
    owns it already, its url is returned; else it is started here, unless `start` is False.
    With `persist=False` an own temporary server is always started.

    Raises EmbeddedServerError: nothing configured, nothing running, and none can (or may) be started.
    """
    if url := configured or os.environ.get(URL_VARIABLE):
        return ResolvedRedis(url, "configured")
    project = project or project_of(Path.cwd())
    if persist and (url := running_server_url(project)):
        return ResolvedRedis(url, "running")
    if not start:
        raise EmbeddedServerError(
            f"no server: {URL_VARIABLE} is not set and no embedded server runs for project {project}. "
            "Next step: run `nooble up` in this folder, or set the variable."
        )
    server = EmbeddedServer(project, persist=persist).start()
    return ResolvedRedis(server.url, "started", server)


def running_server_url(project: str) -> str | None:
    """The url of the project's embedded server, whichever process owns it; None when none runs."""
    return ServerFolder.of_project(project).running_url()
