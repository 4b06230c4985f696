"""The RateLimit header fields of a gateway's answer, made of how a tenant's limits stand.

They follow draft-ietf-httpapi-ratelimit-headers-10 (September 2025): `RateLimit-Policy` lists the policies
(`q` quota, `w` window in seconds, `qu` unit), `RateLimit` what is left of each (`r` remaining, `t` seconds
until there is more). Both are lists of structured fields (RFC 9651). `Retry-After` is that of RFC 9110, in
seconds.
"""

from __future__ import annotations

from collections.abc import Iterator

from ._engine import LimitStatus, TenantLimits


def rate_limit_headers(status: TenantLimits, *, retry_after_s: float | None = None) -> dict[str, str]:
    """`RateLimit-Policy`, `RateLimit` and, when nothing more can start, `Retry-After`, from `status`.

    Only the tenant's own limits are told: what a whole tier or domain can take is nobody else's business. It
    still counts for `Retry-After`, which is left out while something is left of every limit.
    `retry_after_s`, of a `RateLimited` error for example, outranks a shorter one. A tenant without limits
    gets no fields.

    `t` says when there is more once nothing is left, and when all of it is back while something is: a client
    that spreads `r` over `t` then stays within the policy. Seconds are rounded up.
    """
    own = [limit for limit in status.limits if limit.scope == "tenant"]
    headers: dict[str, str] = {}
    policies = [f"{_text(limit.name)};q={limit.amount};w={_seconds(limit.window_ms)}" for limit in own]
    left = [";".join(_left(limit, status.at_ms)) for limit in own]
    if status.max_concurrency:
        policies.append(f'"concurrency";q={status.max_concurrency};qu="concurrent-requests"')
        left.append(f'"concurrency";r={status.free_slots}')
    if policies:
        headers["RateLimit-Policy"] = ", ".join(policies)
        headers["RateLimit"] = ", ".join(left)
    waits = [_seconds(limit.more_at_ms - status.at_ms) for limit in status.limits if _exhausted(limit)]
    if retry_after_s is not None:
        waits.append(_seconds(int(retry_after_s * 1000)))
    if waits:
        headers["Retry-After"] = str(max(waits))
    return headers


def _exhausted(limit: LimitStatus) -> bool:
    """Whether no action at all may start; a limit of some action types says nothing about the others."""
    return not limit.remaining and limit.scope != "named"


def _left(limit: LimitStatus, at_ms: int) -> Iterator[str]:
    yield _text(limit.name)
    yield f"r={limit.remaining}"
    until_ms = limit.full_at_ms if limit.remaining else limit.more_at_ms
    if until_ms:
        yield f"t={_seconds(until_ms - at_ms)}"


def _seconds(milliseconds: int) -> int:
    """Whole seconds, up, at least one: 0 would invite everybody at once."""
    return max(-(-milliseconds // 1000), 1)


def _text(name: str) -> str:
    """A structured field's String: visible ASCII, quotes and backslashes escaped; the rest becomes `?`."""
    plain = "".join(char if " " <= char <= "~" else "?" for char in name)
    return '"' + plain.replace("\\", "\\\\").replace('"', '\\"') + '"'
