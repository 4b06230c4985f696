"""`client.dead_letters`: found, shown, redriven, discarded; by name, by filter, at a rate."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from redis.asyncio import Redis

from nooble_tasks import (
    ActionFailed,
    BaseRedisClient,
    InvalidAction,
    InvalidId,
    InvalidTime,
    LetterReport,
    QueueUnavailable,
    UnknownLetter,
    WorkerDied,
    handles,
)
from nooble_tasks._engine import Claimed, Finish, Outcome, Poisoned
from nooble_tasks.actions import DomainActionResponse
from nooble_tasks.endings import closing_poisoned
from nooble_tasks.error_mapping import error_from_detail
from tests.nooble_tasks.support import AT_ONCE, DOMAIN, ProbeService, action, connect, soon, working


class Moody(ProbeService):
    """Fails until its mood is better."""

    retry_policy = AT_ONCE
    good = False

    @handles("probe.moody")
    async def moody(self, data: Any) -> Any:
        if not self.good:
            raise ConnectionError("bad mood")
        return data


@pytest.fixture
async def moody(redis: Redis, client: BaseRedisClient) -> AsyncIterator[Moody]:
    service = Moody()
    async with working(redis, service):
        yield service


async def fail(client: BaseRedisClient, *tenants: str, verb: str = "moody") -> list[str]:
    handles = await client.enqueue_actions([action(verb, {"n": 1}, tenant_id=tenant) for tenant in tenants])
    for handle in handles:
        with pytest.raises(ActionFailed):
            await handle.result(10)
    return [handle.action_id for handle in handles]


async def test_shown_redriven_and_answered(client: BaseRedisClient, moody: Moody) -> None:
    handle = await client.enqueue_action(action("moody", {"n": 1}))
    with pytest.raises(ActionFailed):
        await handle.result(10)
    opened = await client.dead_letters.show(DOMAIN, handle.action_id)
    assert b'"n":1' in opened.payload
    assert opened.letter.reason == "ConnectionError: bad mood"
    assert [(each.attempt, each.error) for each in opened.attempts] == [
        (n, "ConnectionError: bad mood") for n in (1, 2, 3)
    ]
    assert await client.dead_letters.show(DOMAIN, opened.letter.letter_id, tenant_id="acme") == opened
    moody.good = True
    report = await client.dead_letters.redrive(DOMAIN, handle.action_id)
    assert report == LetterReport(1, 1, {}, [handle.action_id])
    again = await client.enqueue_action(handle.action)
    assert not again.accepted
    assert await again.result(10) == {"n": 1}
    assert await client.dead_letters.count(DOMAIN) == {}


async def test_by_filter(client: BaseRedisClient, moody: Moody) -> None:
    letters = client.dead_letters
    await fail(client, "acme", "acme", "b")
    [other] = await fail(client, "b", verb="fail")
    assert await letters.count(DOMAIN) == {"acme": 2, "b": 2}
    assert [each.action_id for each in await letters.list(DOMAIN, action_type="probe.f*")] == [other]
    assert len(await letters.list(DOMAIN, reason="BAD MOOD")) == 3
    assert len(await letters.list(DOMAIN, limit=3)) == 3
    assert await letters.list(DOMAIN, since=datetime.now(UTC) + timedelta(hours=1)) == []
    assert len(await letters.list(DOMAIN, since=timedelta(hours=1))) == 4
    assert await letters.list(DOMAIN, until=3_600) == []
    assert (await letters.redrive(DOMAIN, tenant_id="b", dry_run=True)).matched == 2
    assert await letters.count(DOMAIN) == {"acme": 2, "b": 2}
    assert (await letters.discard(DOMAIN, tenant_id="b", reason="no such thing")).done == 1
    seen: list[int] = []
    report = await letters.discard(DOMAIN, everything=True, on_progress=lambda each: seen.append(each.done))
    assert (report.matched, report.done) == (3, 3)
    assert seen == [2, 3]
    assert await letters.count(DOMAIN) == {}


async def test_two_at_once_take_each_letter_once(client: BaseRedisClient, moody: Moody) -> None:
    await fail(client, *["acme"] * 40)
    moody.good = True
    reports = await asyncio.gather(
        *(client.dead_letters.redrive(DOMAIN, everything=True) for _ in range(4)),
        client.dead_letters.discard(DOMAIN, tenant_id="acme"),
    )
    assert sum(report.done for report in reports) == 40


async def test_at_a_rate(client: BaseRedisClient, moody: Moody) -> None:
    await fail(client, *["acme"] * 5)
    await client.dead_letters.redrive(DOMAIN, everything=True, rate_per_s=0.01)
    scheduled = await client.redis_client.zrange(
        client.bus.keys.of("scheduled", DOMAIN), 0, -1, withscores=True
    )
    due = [score for _, score in scheduled]
    assert [round(later - due[0], -3) for later in due] == [0, 100_000, 200_000, 300_000]


async def test_nothing_named_is_nothing(client: BaseRedisClient) -> None:
    for verb in (client.dead_letters.redrive, client.dead_letters.discard):
        with pytest.raises(InvalidAction, match="everything=True"):
            await verb(DOMAIN)


@pytest.mark.parametrize(
    ("query", "error"),
    [
        ({"tenant_id": "a:b"}, InvalidId),
        ({"since": -1}, InvalidTime),
        ({"since": datetime(2030, 1, 1)}, InvalidTime),  # noqa: DTZ001
        ({"since": "yesterday"}, InvalidTime),
        ({"everything": True, "rate_per_s": 0}, InvalidAction),
        ({"everything": True, "rate_per_s": float("nan")}, InvalidAction),
        ({"tenant": "acme"}, TypeError),
    ],
)
async def test_what_cannot_be_meant(client: BaseRedisClient, query: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        await client.dead_letters.redrive(DOMAIN, **{"reason": "x", **query})


async def test_no_such_letter(client: BaseRedisClient) -> None:
    with pytest.raises(UnknownLetter, match="nooble dead list probe"):
        await client.dead_letters.show(DOMAIN, "nobody", tenant_id="acme")


async def test_no_server(redis_url: str) -> None:
    from tests.nooble_tasks.support import make_client

    async with connect("redis://127.0.0.1:1") as gone:
        client = make_client(gone)
        with pytest.raises(QueueUnavailable):
            await soon(client.dead_letters.count(DOMAIN))
        await client.close()


@pytest.mark.parametrize("readable", [True, False])
def test_whoever_waits_for_a_poisoned_action_is_told(readable: bool) -> None:
    asked = action()
    payload = asked.to_json() if readable else b"{"
    claimed = Claimed(
        asked.action_id, "probe.echo", "acme", "enterprise", payload, 5, 1, 1, 0, 0, "*", "", expired=False
    )
    finish = closing_poisoned("probe_service")(Poisoned("w1", claimed, 5))
    assert (finish.outcome, finish.reason) == (
        Outcome.DEAD,
        "poison: 5 workers died while they ran it, the last was w1",
    )
    assert isinstance(finish, Finish)
    assert finish.response is not None
    said = DomainActionResponse.from_json(finish.response)
    assert said.error is not None
    assert isinstance(error_from_detail(said.error), WorkerDied)
