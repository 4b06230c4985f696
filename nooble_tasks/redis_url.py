"""What a Redis URL says: which servers, which kind of installation, which database, which secrets to hide.

redis://[user:password@]host:port/db        rediss:// the same over TLS
unix:///path/to/socket?db=0
redis+sentinel://[user:password@]host:26379,host2:26379/service/db        rediss+sentinel:// over TLS
redis+cluster://[user:password@]host:port,host2:port                      rediss+cluster:// over TLS
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

from .errors import ConfigurationError

RedisKind = Literal["standalone", "unix", "sentinel", "cluster"]

_KINDS: dict[str, tuple[RedisKind, bool]] = {
    "redis": ("standalone", False),
    "rediss": ("standalone", True),
    "unix": ("unix", False),
    "redis+sentinel": ("sentinel", False),
    "rediss+sentinel": ("sentinel", True),
    "redis+cluster": ("cluster", False),
    "rediss+cluster": ("cluster", True),
}
_OPTIONS = frozenset(
    {
        "db",
        "sentinel_username",
        "sentinel_password",
        "ssl_ca_certs",
        "ssl_certfile",
        "ssl_keyfile",
        "ssl_cert_reqs",
        "ssl_check_hostname",
    }
)
_secret_option = re.compile(r"((?:^|[?&])[^=&]*password=)[^&]*", re.IGNORECASE)


class RedisTarget(NamedTuple):
    """A parsed URL."""

    kind: RedisKind
    hosts: tuple[tuple[str, int], ...]
    tls: bool
    username: str | None
    password: str | None
    db: int
    service: str
    path: str
    options: dict[str, str]

    def __repr__(self) -> str:
        where = self.path or ",".join(f"{host}:{port}" for host, port in self.hosts)
        return f"<RedisTarget {self.kind} {where} db={self.db}>"


def parse_redis_url(url: str) -> RedisTarget:
    """The parsed URL; ConfigurationError, without the secrets, when it is not one."""
    try:
        return _parse(url)
    except ValueError as error:
        raise ConfigurationError(
            f"the Redis URL {redact_url(url)!r} cannot be used: {error}; "
            "write redis://host:6379/0, rediss://, unix:///path, redis+sentinel://h1,h2/service "
            "or redis+cluster://h1,h2"
        ) from None


def redact_url(url: str) -> str:
    """The URL without its passwords, for messages, logs and repr."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        return _secret_option.sub(r"\1***", url) if "@" not in url else f"***@{url.rpartition('@')[2]}"
    # The last @ counts: a password written without escapes may itself hold @, / or ?.
    secret, at, address = rest.rpartition("@")
    if at:
        user, colon, _ = secret.partition(":")
        address = f"{user}:***@{address}" if colon else f"{user}@{address}"
    address = _secret_option.sub(r"\1***", address)
    return f"{scheme}://{address}"


def _parse(url: str) -> RedisTarget:
    parts = urlsplit(url)
    if parts.scheme not in _KINDS:
        raise ValueError(f"the scheme {parts.scheme!r} is none of {', '.join(_KINDS)}")
    kind, tls = _KINDS[parts.scheme]
    if kind != "unix" and "@" in parts.path + parts.query + parts.fragment:
        raise ValueError("a special character of the password must be percent-encoded")
    options = dict(parse_qsl(parts.query))
    unknown = options.keys() - _OPTIONS
    if unknown:
        raise ValueError(f"its option {min(unknown)!r} is unknown; timeouts belong into the settings")
    credentials, _, addresses = parts.netloc.rpartition("@")
    username, _, password = credentials.partition(":")
    service, db = _path(kind, parts.path, options.pop("db", None))
    hosts = () if kind == "unix" else _hosts(addresses, 26379 if kind == "sentinel" else 6379)
    return RedisTarget(
        kind=kind,
        hosts=hosts,
        tls=tls,
        username=unquote(username) or None,
        password=unquote(password) or None,
        db=db,
        service=service,
        path=unquote(parts.path) if kind == "unix" else "",
        options=options,
    )


def _hosts(addresses: str, default_port: int) -> tuple[tuple[str, int], ...]:
    hosts = []
    for address in (addresses or "localhost").split(","):
        parts = urlsplit(f"//{address}")  # knows IPv6 in brackets
        try:
            port = parts.port
        except ValueError:  # its text would repeat a part of the URL, and that may be a part of the password
            raise ValueError("a port is not a number from 0 to 65535") from None
        if not parts.hostname:
            raise ValueError("a host is missing")
        hosts.append((parts.hostname, default_port if port is None else port))
    return tuple(hosts)


def _path(kind: RedisKind, path: str, db_option: str | None) -> tuple[str, int]:
    """Service name and database number."""
    if kind == "unix":
        if len(path) < 2:
            raise ValueError("a unix URL needs the path of the socket")
        return "", _db(db_option or "0")
    steps = [step for step in path.split("/") if step]
    service = ""
    if kind == "sentinel":
        if not steps:
            raise ValueError("a sentinel URL needs the service name as its path")
        service = unquote(steps.pop(0))
    if len(steps) > 1:
        raise ValueError("its path has too many parts")
    db = _db(db_option or (steps[0] if steps else "0"))
    if kind == "cluster" and db:
        raise ValueError("a cluster has only database 0")
    return service, db


def _db(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise ValueError("the database is not a number")
    return int(text)
