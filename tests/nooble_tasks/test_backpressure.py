"""Backpressure: a handler says not now; nothing of the scope starts until then, and no attempt is spent."""

from __future__ import annotations

from typing import Any

import pytest
from redis.asyncio import Redis

from nooble_tasks import Backpressure, BaseRedisClient, ExecutionContext, handles
from nooble_tasks._engine import Outcome
from tests.nooble_tasks.support import ProbeService, action, working
from tests.nooble_tasks.test_executor import NOW, end_of, error


@pytest.mark.parametrize("scope", ["tenant", "tier", "domain", "openai"])
async def test_backpressure_says_whose_work_waits(scope: str) -> None:
    assert (await end_of(Backpressure(7, scope))).pressed == scope


async def test_backpressure_for_what_is_no_limit_holds_the_tenant(caplog: pytest.LogCaptureFixture) -> None:
    assert (await end_of(Backpressure(7, "openia"))).pressed == "tenant"
    assert "'openia', no limit of this domain, did you mean 'openai'?" in caplog.text
    assert (await end_of(Backpressure(7, "elsewhere"))).pressed == "tenant"


async def test_backpressure_beyond_the_deadline_is_answered_now_and_holds_the_others() -> None:
    ended = await end_of(Backpressure(7), deadline_ms=NOW + 7_000)
    assert (ended.outcome, error(ended).code) == (Outcome.EXPIRED, "action_expired")
    assert (ended.pressed, ended.pressed_until_ms) == ("tenant", NOW + 7_000)


class PressedService(ProbeService):
    """Says not now once, whoever asks first."""

    def __init__(self, scope: str) -> None:
        super().__init__()
        self.scope = scope
        self.ran: list[tuple[Any, int]] = []

    @handles("probe.ask")
    async def ask(self, data: Any, context: ExecutionContext) -> int:
        self.ran.append((data, context.attempt))
        if len(self.ran) == 1:
            raise Backpressure(0.3, self.scope, "429")
        return context.attempt


@pytest.mark.parametrize("scope", ["tenant", "tier", "domain"])
async def test_a_sleeping_worker_goes_on_when_it_ends(
    redis: Redis, client: BaseRedisClient, scope: str
) -> None:
    service = PressedService(scope)
    async with working(redis, service, concurrency=1):
        sent = [await client.enqueue_action(action("ask", name)) for name in ("first", "second")]
        assert [await each.result(10) for each in sent] == [1, 1]
    assert service.ran == [("first", 1), ("first", 1), ("second", 1)]
