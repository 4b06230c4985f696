"""How long somebody asked us to wait: by our own errors, by an attribute, or by an HTTP response.

Errors of HTTP clients (httpx, requests, aiohttp) are known by their shape, so none of them need be installed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

_PASSING_STATUS = frozenset({408, 425, 429, 502, 503, 504})
_NEVER_PASSING = frozenset({"UnsupportedProtocol", "LocalProtocolError"})


def retry_after_s(error: BaseException, now_ms: int) -> float | None:
    """Seconds to wait before another attempt, as far as `error` says; None where it says nothing.

    Read are `retry_after_s`, `retry_after` (seconds, timedelta, datetime or the header's text), and the field
    Retry-After of a response with status 429 or 503 (RFC 9110, 10.2.3: seconds or a date).
    """
    for name in ("retry_after_s", "retry_after"):
        said = _seconds(getattr(error, name, None), now_ms)
        if said is not None:
            return said
    if status_of(error) in (429, 503):
        for owner in (getattr(error, "response", None), error):
            headers = getattr(owner, "headers", None)
            if isinstance(headers, Mapping):
                return _seconds(headers.get("Retry-After"), now_ms)
    return None


def status_of(error: BaseException) -> int | None:
    """The HTTP status that an error is about."""
    for owner in (getattr(error, "response", None), error):
        for name in ("status_code", "status"):
            status = getattr(owner, name, None)
            if isinstance(status, int) and not isinstance(status, bool):
                return int(status)
    return None


def http_may_pass(error: BaseException) -> bool | None:
    """Whether the same HTTP request might succeed later; None for what is no error of an HTTP client."""
    kinds = {cls.__name__ for cls in type(error).__mro__ if cls.__module__.partition(".")[0] == "httpx"}
    if "TransportError" in kinds:
        return not kinds & _NEVER_PASSING
    if getattr(error, "response", None) is None and "HTTPError" not in kinds:
        return None
    status = status_of(error)
    return None if status is None else status in _PASSING_STATUS


def _seconds(said: Any, now_ms: int) -> float | None:
    if isinstance(said, str):
        said = _of_text(said)
    if isinstance(said, timedelta):
        said = said.total_seconds()
    elif isinstance(said, datetime):
        said = said.replace(tzinfo=said.tzinfo or UTC).timestamp() - now_ms / 1000
    if isinstance(said, bool) or not isinstance(said, int | float) or not math.isfinite(said):
        return None
    return max(float(said), 0.0)


def _of_text(text: str) -> float | datetime | None:
    text = text.strip()
    if text.isascii() and text.isdigit():
        return float(text[:12])
    try:
        return parsedate_to_datetime(text)
    except ValueError:
        return None
