"""RateLimit header fields: the draft's own examples, several limits, a held tenant, odd names."""

from __future__ import annotations

from typing import Any

import pytest
from redis.asyncio import Redis

from nooble_tasks import LimitStatus, TenantLimits, UnknownTier, rate_limit_headers
from tests.nooble_tasks.support import make_client

NOW = 1_750_000_000_000


def limit(
    name: str, amount: int, window_s: int, remaining: int, more_s: float = 0, full_s: float = 0
) -> LimitStatus:
    """A tenant's limit that has more in `more_s` and all in `full_s` seconds."""
    more_at, full_at = (NOW + int(s * 1000) if s else 0 for s in (more_s, full_s))
    return LimitStatus(
        "tenant", name, "moving-window", amount, window_s * 1000, "", remaining, more_at, full_at
    )


def status(*limits: LimitStatus, **more: Any) -> TenantLimits:
    return TenantLimits("embedding", "acme", "free", NOW, list(limits), **more)


@pytest.mark.parametrize(
    ("limits", "headers"),
    [
        pytest.param(
            [limit("default", 100, 10, 50, full_s=30)],
            {"RateLimit-Policy": '"default";q=100;w=10', "RateLimit": '"default";r=50;t=30'},
            id="examples of sections 3.2 and 4.2",
        ),
        pytest.param(
            [limit("permin", 50, 60, 50), limit("perhr", 1000, 3600, 999, 3600, 3600)],
            {
                "RateLimit-Policy": '"permin";q=50;w=60, "perhr";q=1000;w=3600',
                "RateLimit": '"permin";r=50, "perhr";r=999;t=3600',
            },
            id="several policies, one unused",
        ),
        pytest.param(
            [limit("10/minute", 10, 60, 0, 0.001, 59.5), limit("100/day", 100, 86_400, 90, 9000, 9000)],
            {
                "RateLimit-Policy": '"10/minute";q=10;w=60, "100/day";q=100;w=86400',
                "RateLimit": '"10/minute";r=0;t=1, "100/day";r=90;t=9000',
                "Retry-After": "1",
            },
            id="exhausted: seconds are rounded up",
        ),
        pytest.param(
            [limit("a", 1, 60, 0, 12, 12), limit("b", 1, 3600, 0, 1800.2, 1801)],
            {
                "RateLimit-Policy": '"a";q=1;w=60, "b";q=1;w=3600',
                "RateLimit": '"a";r=0;t=12, "b";r=0;t=1801',
                "Retry-After": "1801",
            },
            id="retry when the last of them has room",
        ),
        pytest.param(
            [limit('up"stream\\ñ', 1, 60, 1)],
            {"RateLimit-Policy": '"up\\"stream\\\\?";q=1;w=60', "RateLimit": '"up\\"stream\\\\?";r=1'},
            id="a name that needs escaping",
        ),
        pytest.param([], {}, id="no limits, no fields"),
    ],
)
def test_fields(limits: list[LimitStatus], headers: dict[str, str]) -> None:
    assert rate_limit_headers(status(*limits)) == headers


def test_concurrency_is_a_policy_of_its_own_unit() -> None:
    headers = rate_limit_headers(status(max_concurrency=5, running=4, slots_taken=7))
    assert headers == {
        "RateLimit-Policy": '"concurrency";q=5;qu="concurrent-requests"',
        "RateLimit": '"concurrency";r=0',
    }


def test_a_domains_limit_is_not_told_but_counts() -> None:
    domain = limit("500/second", 500, 1, 0, 7, 7)._replace(scope="domain")
    headers = rate_limit_headers(status(limit("10/minute", 10, 60, 3, 4, 4), domain))
    assert headers["RateLimit"] == '"10/minute";r=3;t=4'
    assert "500" not in headers["RateLimit-Policy"]
    assert headers["Retry-After"] == "7"


@pytest.mark.parametrize(("given", "told"), [(0.2, "12"), (90.5, "91")])
def test_what_a_refusal_said_outranks_a_shorter_wait(given: float, told: str) -> None:
    headers = rate_limit_headers(status(limit("a", 1, 60, 0, 12, 12)), retry_after_s=given)
    assert headers["Retry-After"] == told


async def test_from_the_same_call(redis: Redis) -> None:
    client = make_client(redis)
    limits = await client.inspector.limits("acme", "probe", tier="free")
    assert rate_limit_headers(limits) == {
        "RateLimit-Policy": '"10/minute";q=10;w=60, "100/day";q=100;w=86400',
        "RateLimit": '"10/minute";r=10, "100/day";r=100',
    }
    assert (await client.inspector.limits("acme", "probe")).tier == "free"  # the default tier
    with pytest.raises(UnknownTier, match="did you mean 'free'"):
        await client.inspector.limits("acme", "probe", tier="fre")
    await client.close()
