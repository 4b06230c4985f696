"""What cannot be right gets a typed error before anything is written, or a dead letter with its reason."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from redis.asyncio import Redis

from nooble_tasks import (
    ActionFailed,
    BaseRedisClient,
    DomainAction,
    InvalidAction,
    InvalidId,
    InvalidTime,
    PayloadTooDeep,
    PayloadTooLarge,
    UnknownDomain,
    UnknownTier,
)
from tests.nooble_tasks.support import (
    ProbeService,
    action,
    dead_letters,
    make_client,
    put_raw,
    soon,
    stored_response,
    until,
    working,
)

BAD_IDS = [
    "a:b",
    "{a}",
    "a*",
    "a?",
    "[a]",
    "a b",
    "a\n",
    "a\x00b",
    "a\u202eb",
    "é",
    "",
    "x" * 129,
    ".a",
    "a|b",
]


def nested(depth: int) -> Any:
    """A list in a list in a list …"""
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize("field", ["tenant_id", "action_id", "session_id", "tenant_tier"])
@pytest.mark.parametrize("value", BAD_IDS)
async def test_a_malformed_id(redis: Redis, client: BaseRedisClient, field: str, value: str) -> None:
    with pytest.raises(InvalidId) as caught:
        await client.send_action_async(action(**{field: value}))
    assert field in str(caught.value)
    assert await redis.dbsize() == 0


@pytest.mark.parametrize(
    "action_type", ["Probe.echo", "probe", "probe.", "nooble.echo", "a.b.c.d.e.f", "a b.c"]
)
async def test_a_malformed_action_type(redis: Redis, client: BaseRedisClient, action_type: str) -> None:
    with pytest.raises(InvalidId):
        await client.enqueue_action(action_type, {}, tenant_id="acme")
    assert await redis.dbsize() == 0


async def test_an_unknown_tier_names_the_known_ones(redis: Redis, client: BaseRedisClient) -> None:
    with pytest.raises(UnknownTier, match="did you mean 'enterprise'"):
        await client.send_action_async(action(tenant_tier="enterprize"))
    assert not await redis.exists("nooble:probe:actions", "nooble:probe:counters")


async def test_an_unknown_domain_in_a_strict_registry(redis: Redis) -> None:
    client = make_client(redis, "strict", strict_domains=["embedding", "probe"])
    with pytest.raises(UnknownDomain, match="did you mean 'embedding'"):
        await client.enqueue_action("embeding.generate", {}, tenant_id="acme")
    assert await redis.dbsize() == 0
    await client.close()


@pytest.mark.parametrize(
    ("data", "error"),
    [("x" * 1_048_576, PayloadTooLarge), (nested(65), PayloadTooDeep), (object(), InvalidAction)],
)
async def test_a_payload_that_cannot_travel(
    redis: Redis, client: BaseRedisClient, data: Any, error: type[InvalidAction]
) -> None:
    with pytest.raises(error):
        await client.enqueue_action("probe.echo", {"it": data}, tenant_id="acme")
    assert await redis.dbsize() == 0


@pytest.mark.parametrize(
    "options",
    [
        {"run_at": datetime(2030, 1, 1)},  # noqa: DTZ001
        {"deadline": datetime(2030, 1, 1)},  # noqa: DTZ001
        {"run_at": datetime(9999, 12, 31, tzinfo=UTC)},
        {"delay": -1},
        {"delay": timedelta(seconds=-1)},
        {"delay": float("nan")},
        {"deadline": -5},
    ],
)
async def test_a_time_that_is_none(redis: Redis, client: BaseRedisClient, options: dict[str, Any]) -> None:
    with pytest.raises(InvalidTime):
        await client.enqueue_action("probe.echo", {}, tenant_id="acme", **options)
    assert await redis.dbsize() == 0


async def test_somebody_elses_entry_goes_to_the_dead_letters(
    redis: Redis, client: BaseRedisClient, probe: ProbeService
) -> None:
    """A raw XADD into a live tenant's stream: buried with its reason, the worker lives on."""
    await client.send_action_async(action(data="first"))
    await redis.xadd("probe:acme:enterprise", {"data": b"\xff\xfe not ours"})
    await client.send_action_async(action(data="second"))
    async with working(redis, probe):
        assert await soon(client.request(action(data="third"))) is not None
        letters = await soon(until_letters(redis))
    assert [call.data for call in probe.calls] == ["first", "second", "third"]
    assert "malformed entry" in letters[0]["reason"]


async def until_letters(redis: Redis) -> list[dict[str, str]]:
    letters: list[dict[str, str]] = await until(lambda: _letters(redis), "a dead letter")
    return letters


async def _letters(redis: Redis) -> Any:
    entries = await redis.xrange("nooble:probe:dead:acme")
    return [{k.decode(): v.decode("utf-8", "replace") for k, v in fields.items()} for _, fields in entries]


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"not json", "not valid JSON"),
        (b"{}", "missing"),
        (DomainAction(action_id="x1", action_type="probe.echo", tenant_id="other").to_json(), "other"),
        (DomainAction(action_id="x2", action_type="probe.echo", tenant_id="acme").to_json(), "x2"),
    ],
    ids=["not json", "nothing in it", "another tenant's", "another's id"],
)
async def test_an_entry_whose_data_is_not_what_its_header_says(
    redis: Redis, client: BaseRedisClient, probe: ProbeService, payload: bytes, reason: str
) -> None:
    await put_raw(redis, "x1", payload)
    async with working(redis, probe):
        await soon(client.request(action(data="next")))
        raw = await until(lambda: stored_response(redis, "x1"), "an answer")
    assert [call.data for call in probe.calls] == ["next"]
    assert b'"success":false' in raw
    (letter,) = await dead_letters(redis)
    assert reason in letter["reason"]


async def test_an_action_type_that_nobody_handles(
    redis: Redis, client: BaseRedisClient, probe: ProbeService
) -> None:
    async with working(redis, probe):
        with pytest.raises(ActionFailed, match=r"did you mean 'probe\.echo'"):
            await soon(client.request(action("ecko")))
