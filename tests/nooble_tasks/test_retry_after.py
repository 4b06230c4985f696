"""How long somebody asked us to wait, whoever it was."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from nooble_tasks import NO_RETRY, RateLimited, RetryPolicy
from nooble_tasks.retry_after import http_may_pass, retry_after_s

NOW = int(datetime(2026, 1, 1, 12, tzinfo=UTC).timestamp() * 1000)


def refused(status: int, **headers: str) -> httpx.HTTPStatusError:
    request = httpx.Request("GET", "https://example.com")
    response = httpx.Response(
        status, headers={name.replace("_", "-"): v for name, v in headers.items()}, request=request
    )
    return httpx.HTTPStatusError("no", request=request, response=response)


def with_attribute(**values: Any) -> Exception:
    error = RuntimeError("later")
    for name, value in values.items():
        setattr(error, name, value)
    return error


@pytest.mark.parametrize(
    ("error", "asked_s"),
    [
        (RateLimited(retry_after_s=7.5), 7.5),
        (with_attribute(retry_after=3), 3),
        (with_attribute(retry_after="3"), 3),
        (with_attribute(retry_after=timedelta(minutes=1)), 60),
        (with_attribute(retry_after=datetime(2026, 1, 1, 12, 5, tzinfo=UTC)), 300),
        (with_attribute(retry_after=datetime(2025, 1, 1, tzinfo=UTC)), 0),
        (refused(429, Retry_After="120"), 120),
        (refused(503, Retry_After="Thu, 01 Jan 2026 12:01:00 GMT"), 60),
        (refused(503, Retry_After="Thu, 01 Jan 1970 00:00:00 GMT"), 0),
        (with_attribute(status=429, headers={"Retry-After": "5"}), 5),  # as aiohttp does
        (refused(500, Retry_After="120"), None),
        (refused(429), None),
        (refused(429, Retry_After="soon"), None),
        (refused(429, Retry_After="-1"), None),
        (with_attribute(retry_after=float("nan")), None),
        (with_attribute(retry_after=float("inf")), None),
        (with_attribute(retry_after=True), None),
        (with_attribute(retry_after="9" * 5_000), 999_999_999_999),
        (with_attribute(retry_after=None, response=SimpleNamespace(status_code=429)), None),
        (with_attribute(response=SimpleNamespace(status_code="429", headers="x")), None),
        (ValueError(), None),
    ],
    ids=repr,
)
def test_what_was_asked_for(error: Exception, asked_s: float | None) -> None:
    assert retry_after_s(error, NOW) == asked_s


@pytest.mark.parametrize(
    ("error", "passing"),
    [
        *((refused(status), True) for status in (408, 425, 429, 502, 503, 504)),
        *((refused(status), False) for status in (400, 401, 404, 409, 422, 500, 501)),
        (httpx.ConnectError("gone"), True),
        (httpx.ReadTimeout("slow"), True),
        (httpx.RemoteProtocolError("hung up"), True),
        (httpx.UnsupportedProtocol("ftp"), False),
        (httpx.LocalProtocolError("bad header"), False),
        (httpx.DecodingError("gzip"), None),
        (ValueError(), None),
        (with_attribute(status_code=503), None),
    ],
    ids=repr,
)
def test_which_errors_of_http_may_pass(error: Exception, passing: bool | None) -> None:
    assert http_may_pass(error) is passing
    assert RetryPolicy().is_passing(error) is bool(passing)


def test_the_next_attempt_comes_no_earlier_than_asked_for() -> None:
    policy = RetryPolicy(first_delay_s=1, max_delay_s=1)
    assert policy.delay_s(1, refused(429, Retry_After="120"), NOW) == 120
    assert policy.delay_s(1, refused(429, Retry_After="99999"), NOW) == policy.max_retry_after_s
    assert 0.5 <= policy.delay_s(1, refused(429, Retry_After="0"), NOW) <= 1
    patient = RetryPolicy(first_delay_s=10, max_delay_s=10)
    assert 5 <= patient.delay_s(1, RateLimited(retry_after_s=0.1), NOW) <= 10


def test_exception_types_have_policies_of_their_own() -> None:
    slow = RetryPolicy(max_attempts=9, first_delay_s=50, max_delay_s=50)
    policy = RetryPolicy(
        max_attempts=2, on={OSError: slow, ConnectionRefusedError: NO_RETRY, LookupError: RetryPolicy(4)}
    )
    assert policy.allows(OSError(), 8)
    assert not policy.allows(OSError(), 9)
    assert policy.allows(ConnectionResetError(), 8), "the nearest base counts"
    assert not policy.allows(ConnectionRefusedError(), 1)
    assert policy.allows(KeyError(), 3)
    assert not policy.allows(ValueError(), 1)
    assert not policy.allows(TimeoutError(), 9), "a TimeoutError is an OSError"
    assert 25 <= policy.delay_s(1, OSError()) <= 50
    assert policy.delay_s(1, KeyError()) <= 1
