"""Retries that somebody asked to come later, and the budget: what the executor makes of them."""

from __future__ import annotations

import asyncio
from typing import Any

from redis.asyncio import Redis

from nooble_tasks import BaseRedisClient, DomainAction, RateLimited, Retry, RetryBudget, RetryPolicy, handles
from nooble_tasks._engine import Outcome
from tests.nooble_tasks.support import AT_ONCE, ProbeService, action, until, working
from tests.nooble_tasks.test_executor import NOW, Once, claimed, end_of, error, executor


async def test_retry_after_is_respected_and_answers_when_the_deadline_comes_first() -> None:
    limited = RateLimited("slow down", retry_after_s=60)
    assert (await end_of(limited)).due_ms == NOW + 60_000
    finish = await end_of(limited, deadline_ms=NOW + 60_000)
    assert (finish.outcome, error(finish).code) == (Outcome.DEAD, "rate_limited")
    assert "no attempt fits before the deadline" in finish.reason


async def test_a_spent_budget_puts_off_then_refuses_and_answers() -> None:
    async def handle(_: DomainAction) -> Any:
        raise ConnectionResetError("gone")

    class Poor(Once):
        retry_policy = AT_ONCE
        retry_budget = RetryBudget(tokens=1, per_success=1, retries_per_s=1, max_delay_s=1)

    failing = executor(handle, Poor)
    ends = [await failing.run(claimed(action()), 300) for _ in range(4)]
    assert [finish.due_ms for finish in ends] == [NOW, NOW, NOW + 1_000, 0]
    assert (ends[3].outcome, error(ends[3]).type) == (Outcome.DEAD, "ConnectionResetError")
    assert "the retry budget is spent" in ends[3].reason


async def test_one_put_off_beyond_its_deadline_is_answered_at_once() -> None:
    async def handle(_: DomainAction) -> Any:
        raise ConnectionResetError("gone")

    class Poor(Once):
        retry_policy = AT_ONCE
        retry_budget = RetryBudget(tokens=0, retries_per_s=1)

    failing = executor(handle, Poor)
    assert (await failing.run(claimed(action()), 300)).due_ms == NOW
    finish = await failing.run(claimed(action(), deadline_ms=NOW + 1_000), 300)
    assert (finish.outcome, error(finish).type) == (Outcome.DEAD, "ConnectionResetError")
    assert "no attempt fits before the deadline" in finish.reason
    assert (await failing.run(claimed(action(), deadline_ms=NOW + 2_001), 300)).due_ms == NOW + 2_000


async def test_successes_refill_the_budget() -> None:
    ends: list[Any] = [ConnectionResetError("gone"), "fine", ConnectionResetError("gone"), OSError()]

    async def handle(_: DomainAction) -> Any:
        end = ends.pop(0)
        if isinstance(end, Exception):
            raise end
        return end

    class Poor(Once):
        retry_policy = AT_ONCE
        retry_budget = RetryBudget(tokens=1, per_success=1, retries_per_s=0)

    running = executor(handle, Poor)
    outcomes = [(await running.run(claimed(action()), 300)).outcome for _ in range(3)]
    assert outcomes == [Outcome.RETRY, Outcome.COMPLETED, Outcome.RETRY]


async def test_an_outage_costs_no_more_attempts_than_the_budget_and_stops_nobody_else(
    redis: Redis, client: BaseRedisClient
) -> None:
    """A downstream is gone; forty actions would each try thirty times at once."""

    class Ill(ProbeService):
        retry_policy = RetryPolicy(max_attempts=30, first_delay_s=0)
        retry_budget = RetryBudget(tokens=5, per_success=0, retries_per_s=20)

        @handles("probe.ill")
        async def ill(self, action: DomainAction) -> None:
            self._note(action)
            raise ConnectionRefusedError("nobody is there")

    service, many, loop = Ill(), 40, asyncio.get_running_loop()
    async with working(redis, service):
        began = loop.time()
        await client.enqueue_actions([action("ill") for _ in range(many)])

        async def retried() -> bool:
            await client.request(action("echo", 1), timeout=10)  # the others go on meanwhile
            return sum(each.action_type == "probe.ill" for each in service.calls) >= many + 20

        await until(retried, "retries go on")
        attempts = sum(each.action_type == "probe.ill" for each in service.calls)
        assert attempts <= many + 5 + 1 + 20 * (loop.time() - began)


async def test_a_lone_worker_with_nothing_else_to_do_retries_in_time(
    redis: Redis, client: BaseRedisClient
) -> None:
    """Its last claim knew of nothing that is due; what it hands in is due soon."""
    runs: list[float] = []

    class Stumbling(ProbeService):
        @handles("probe.stumble")
        async def stumble(self, _: DomainAction) -> int:
            runs.append(asyncio.get_running_loop().time())
            if len(runs) == 1:
                raise Retry(0.1)
            return len(runs)

    async with working(redis, Stumbling()):
        assert (await client.request(action("stumble"), timeout=10)).data == 2
