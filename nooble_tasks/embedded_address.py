"""Where an embedded server listens: a unix socket in its folder, or a port of this machine alone."""

from __future__ import annotations

import os
import secrets
import socket
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from .embedded_binaries import EmbeddedServerError
from .embedded_folder import ServerFolder

_SOCKET_PATH_LIMIT = 100
"""Bytes. The kernel allows 107 on Linux and 103 on macOS; old servers cut a longer path without a word."""


class Address(NamedTuple):
    url: str
    """For clients."""
    options: dict[str, str]
    """What makes the server listen there."""


def choose_address(folder: ServerFolder, wanted_port: int | None) -> Address:
    """`wanted_port` as in EmbeddedServer. Raises EmbeddedServerError when that port is taken."""
    if wanted_port is None and _can_bind_socket(folder.socket):
        options = {"port": "0", "unixsocket": quoted(folder.socket), "unixsocketperm": "700"}
        return Address(f"unix://{quote(str(folder.socket))}?db=0", options)
    port = _free_port(wanted_port or 0)
    password = secrets.token_urlsafe(18)
    options = {"port": str(port), "bind": "127.0.0.1", "requirepass": password}
    return Address(f"redis://:{password}@127.0.0.1:{port}/0", options)


def _can_bind_socket(path: Path) -> bool:
    """Paths have a length limit, and some file systems (network shares) have no sockets at all."""
    if len(os.fsencode(path)) > _SOCKET_PATH_LIMIT:
        return False
    path.unlink(missing_ok=True)  # a leftover of a machine that lost power; the lock says nobody uses it
    try:
        with socket.socket(socket.AF_UNIX) as probe:
            probe.bind(str(path))
    except OSError:
        return False
    finally:
        path.unlink(missing_ok=True)
    return True


def _free_port(wanted: int) -> int:
    """The wanted port if it is free, any free one for 0. Raises EmbeddedServerError."""
    with socket.socket(socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", wanted))
        except OSError as error:
            raise EmbeddedServerError(
                f"port {wanted} on 127.0.0.1 cannot be used: {error.strerror}. Next step: choose another "
                f"port or none; or, if a server listens there, use it: NOOBLE_REDIS_URL=redis://127.0.0.1:{wanted}/0."
            ) from error
        port: int = probe.getsockname()[1]
        return port


def answers(url: str) -> bool:
    """One PING on a connection of its own; False while it starts or loads its data."""
    client = redis.Redis.from_url(
        url, protocol=2, socket_timeout=2, socket_connect_timeout=2, retry=Retry(NoBackoff(), 0)
    )
    try:
        return bool(client.ping())
    except (redis.ConnectionError, redis.TimeoutError):  # BusyLoadingError is a ConnectionError
        return False
    finally:
        client.close()


def quoted(path: Path) -> str:
    """A path in the server's configuration file: spaces, quotes and backslashes survive."""
    return '"' + str(path).replace("\\", "\\\\").replace('"', '\\"') + '"'
