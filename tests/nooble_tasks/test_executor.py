"""How one attempt ends, as a value: no Redis anywhere."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from pydantic import BaseModel

from nooble_tasks import (
    Backpressure,
    BaseService,
    DomainAction,
    DomainActionResponse,
    ErrorDetail,
    InvalidAction,
    QueueUnavailable,
    Reject,
    Retry,
    RetryPolicy,
    Snooze,
    current_context,
    handles,
)
from nooble_tasks._engine import Claimed, Finish, ManualClock, Outcome, Policy
from nooble_tasks.executor import MAX_ATTEMPTS, Executor
from tests.nooble_tasks.support import DOMAIN, action, settings_for

NOW = 1_750_000_000_000
TIERS = 'default_tier = "enterprise"\n[tiers.enterprise]\npriority = 1\ntimeout = 300\n'
TIERS += '[limits.openai]\nrate = "9/minute"\naction_types = ["probe.echo"]\n'
TIERS += '[limits.elsewhere]\nrate = "9/minute"\naction_types = ["query.search"]\n'
POLICY = Policy.parse(TIERS, source="a test")
QUEUE = "nooble:probe:callback:me:probe.done"


class Once(BaseService):
    retry_policy = RetryPolicy(max_attempts=3, first_delay_s=10, max_delay_s=10)

    @handles("probe.short", timeout=2)
    async def short(self) -> None: ...

    @handles("probe.stubborn", retry=RetryPolicy(max_attempts=MAX_ATTEMPTS + 5))
    async def stubborn(self) -> None: ...


def claimed(asked: DomainAction, **values: Any) -> Claimed:
    fields: dict[str, Any] = {
        "action_id": asked.action_id,
        "action_type": asked.action_type,
        "tenant_id": asked.tenant_id,
        "tier": "enterprise",
        "payload": asked.to_json(),
        "attempt": 1,
        "token": 1,
        "enqueued_ms": NOW - 40,
        "claimed_ms": NOW,
        "deadline_ms": 0,
        "reply_to": "*",
        "unique_key": "",
        "expired": False,
    }
    return Claimed(**{**fields, **values})


def executor(
    handle: Callable[[DomainAction], Awaitable[Any]] | None = None,
    kind: type[BaseService] = Once,
    poison_deaths: int = 0,
) -> Executor:
    service = kind(app_settings=settings_for())
    return Executor(
        service,
        handle or service.process_action,
        domain=DOMAIN,
        policy=lambda: POLICY,
        clock=ManualClock(NOW),
        poison_deaths=poison_deaths,
    )


async def end_of(
    outcome: Any, asked: DomainAction | None = None, poison_deaths: int = 0, **values: Any
) -> Finish:
    """How the attempt ends whose handler returns, or raises, `outcome`."""

    async def handle(_: DomainAction) -> Any:
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    tried = executor(handle, poison_deaths=poison_deaths)
    return await tried.run(claimed(asked or action(), **values), 300)


def response(finish: Finish) -> DomainActionResponse:
    assert finish.response is not None
    return DomainActionResponse.from_json(finish.response)


def error(finish: Finish) -> ErrorDetail:
    detail = response(finish).error
    assert detail is not None
    return detail


class Point(BaseModel):
    x: int
    y: int | None = None


@pytest.mark.parametrize(
    ("result", "data"), [(None, None), ({"a": [1]}, {"a": [1]}), (Point(x=1), {"x": 1, "y": None})]
)
async def test_what_is_returned_is_the_answer(result: Any, data: Any) -> None:
    asked = action(correlation_id="c-1")
    finish = await end_of(result, asked, attempt=2)
    assert finish.outcome is Outcome.COMPLETED
    said = response(finish)
    assert (said.success, said.data, said.attempt, said.queue_time_ms) == (True, data, 2, 40)
    assert (said.action_id, said.correlation_id, said.trace_id) == (asked.action_id, "c-1", asked.trace_id)


async def test_nobody_asked_for_an_answer() -> None:
    assert (await end_of({"a": 1}, reply_to="")).response is None
    dead = await end_of(ValueError("no"), reply_to="")
    assert (dead.outcome, dead.response) == (Outcome.DEAD, None)


async def test_a_response_passes_through_under_the_actions_own_address() -> None:
    asked = action()
    refusal = DomainActionResponse(
        success=False, error=ErrorDetail(type="Full", code="full", message="no room"), action_id="forged"
    )
    finish = await end_of(refusal, asked)
    assert finish.outcome is Outcome.COMPLETED
    assert error(finish).code == "full"
    assert (response(finish).action_id, response(finish).tenant_id) == (asked.action_id, "acme")


async def test_what_cannot_be_sent_is_dead_and_named() -> None:
    for asked in (action(), action(callback_action_type="probe.done", callback_queue_name=QUEUE)):
        finish = await end_of({"found": [1, object()]}, asked)
        assert finish.outcome is Outcome.DEAD
        told = (
            DomainAction.from_json(finish.callback).data["error"] if finish.callback else dict(error(finish))
        )
        assert told["code"] == "payload_not_serializable"
        assert told["details"] == {"path": "result.found[1]", "type": "object"}
        assert "result.found[1] is a builtins.object" in told["message"]
        assert "result.found[1] is a builtins.object" in finish.reason


async def test_snooze_and_backpressure_spend_no_attempt() -> None:
    snoozed = await end_of(Snooze(5, "later"), attempt=3)
    assert (snoozed.outcome, snoozed.due_ms, snoozed.response) == (Outcome.SNOOZED, NOW + 5_000, None)
    pressed = await end_of(Backpressure(7), attempt=3)
    assert (pressed.outcome, pressed.due_ms) == (Outcome.SNOOZED, 0)  # next in line, and nothing starts
    assert (pressed.pressed, pressed.pressed_until_ms) == ("tenant", NOW + 7_000)


async def test_retry_with_and_without_a_delay_of_its_own() -> None:
    asked = await end_of(Retry(2.5, "not yet"))
    assert (asked.outcome, asked.due_ms, asked.reason) == (Outcome.RETRY, NOW + 2_500, "Retry: not yet")
    by_policy = await end_of(Retry())
    assert NOW + 5_000 <= by_policy.due_ms <= NOW + 10_000
    last = await end_of(Retry(1, "not yet"), attempt=3)
    assert (last.outcome, error(last).code) == (Outcome.DEAD, "retry")


async def test_arqs_retry_is_known_by_its_shape() -> None:
    class Retry(RuntimeError):  # noqa: N818 - the name is what it is known by
        defer_score: int | None = 1_500

    finish = await end_of(Retry())
    assert (finish.outcome, finish.due_ms) == (Outcome.RETRY, NOW + 1_500)
    Retry.defer_score = None
    assert (await end_of(Retry())).due_ms == NOW
    assert (await end_of(Retry(), attempt=3)).outcome is Outcome.DEAD


async def test_reject_is_dead_at_once() -> None:
    finish = await end_of(Reject("not ours"))
    assert (finish.outcome, finish.reason, error(finish).code) == (
        Outcome.DEAD,
        "Reject: not ours",
        "rejected",
    )


@pytest.mark.parametrize("passing", [ConnectionResetError("gone"), TimeoutError("slow"), QueueUnavailable()])
async def test_what_may_pass_is_tried_again_until_attempts_are_exhausted(passing: Exception) -> None:
    again = await end_of(passing, attempt=2)
    assert (again.outcome, again.response) == (Outcome.RETRY, None)
    assert NOW + 5_000 <= again.due_ms <= NOW + 10_000
    last = await end_of(passing, attempt=3)
    assert last.outcome is Outcome.DEAD
    assert error(last).type == type(passing).__name__


async def test_other_errors_are_dead_at_once() -> None:
    finish = await end_of(ValueError("no such thing"))
    assert (finish.outcome, finish.reason) == (Outcome.DEAD, "ValueError: no such thing")
    assert error(finish).message == "no such thing"


async def test_no_attempt_is_planned_that_cannot_start_before_the_deadline() -> None:
    assert (await end_of(Retry(10), deadline_ms=NOW + 10_000)).outcome is Outcome.DEAD
    assert (await end_of(Retry(10), deadline_ms=NOW + 10_001)).outcome is Outcome.RETRY


async def test_a_snooze_beyond_the_deadline_is_answered_at_once() -> None:
    finish = await end_of(Snooze(10), deadline_ms=NOW + 10_000)
    assert (finish.outcome, error(finish).code) == (Outcome.EXPIRED, "action_expired")
    assert (await end_of(Snooze(10), deadline_ms=NOW + 10_001)).outcome is Outcome.SNOOZED


async def test_what_expired_is_answered_and_not_run() -> None:
    finish = await end_of(AssertionError("it ran"), expired=True, deadline_ms=NOW - 1)
    assert (finish.outcome, error(finish).code) == (Outcome.EXPIRED, "action_expired")


async def test_what_kills_its_workers_is_dead_unrun() -> None:
    assert (await end_of("ran", attempt=MAX_ATTEMPTS)).outcome is Outcome.COMPLETED
    finish = await end_of("ran", attempt=MAX_ATTEMPTS + 1)
    assert (finish.outcome, error(finish).code) == (Outcome.DEAD, "rejected")
    allowed = await end_of("ran", action("stubborn"), attempt=MAX_ATTEMPTS + 1)
    assert allowed.outcome is Outcome.COMPLETED, "its own policy allows as many"


async def test_as_many_workers_may_die_with_it_as_the_settings_say() -> None:
    most = 30 + Once.retry_policy.max_attempts
    assert (await end_of("ran", attempt=most, poison_deaths=30)).outcome is Outcome.COMPLETED
    assert (await end_of("ran", attempt=most + 1, poison_deaths=30)).outcome is Outcome.DEAD


@pytest.mark.parametrize("result", [{"a": 1}, ValueError("no")], ids=["success", "failure"])
async def test_a_callback_instead_of_a_response(result: Any) -> None:
    asked = action(callback_action_type="probe.done", callback_queue_name=QUEUE, task_id="t-1")
    finish = await end_of(result, asked)
    assert (finish.response, finish.callback_queue) == (None, QUEUE)
    callback = DomainAction.from_json(finish.callback)
    assert (callback.action_type, callback.tenant_id, callback.task_id) == ("probe.done", "acme", "t-1")
    assert callback.correlation_id == asked.action_id
    if isinstance(result, Exception):
        assert (finish.outcome, callback.data["error"]["message"]) == (Outcome.DEAD, "no")
        assert callback.metadata["success"] is False
    else:
        assert (finish.outcome, callback.data) == (Outcome.COMPLETED, {"a": 1})
        assert callback.metadata["success"] is True


async def test_data_of_another_action_or_tenant_is_refused() -> None:
    others: list[dict[str, Any]] = [{"action_id": "other"}, {"tenant_id": "rival"}]
    for other in others:
        finish = await end_of("ran", **other)
        assert finish.outcome is Outcome.DEAD
        assert "the entry says action" in error(finish).message
        assert response(finish).action_id == finish.action.action_id


@pytest.mark.parametrize("payload", [b"{", b"", b"\xff", b"[]"])
async def test_what_is_no_action_is_dead(payload: bytes) -> None:
    finish = await end_of("ran", payload=payload)
    assert (finish.outcome, error(finish).code) == (Outcome.DEAD, "invalid_action")


@pytest.mark.parametrize("strange", [{"action_id": "a*b"}, {"tenant_id": "a*b"}])
async def test_ids_nobody_could_be_answered_under_still_end(strange: dict[str, Any]) -> None:
    finish = await end_of("ran", **strange)
    assert (finish.outcome, finish.response) == (Outcome.DEAD, None)


async def test_the_handler_runs_in_its_context_and_the_streams_tier() -> None:
    async def handle(asked: DomainAction) -> Any:
        context = current_context()
        assert context is not None
        return context.tenant_id, context.tier, context.attempt, asked.tenant_tier

    finish = await executor(handle).run(claimed(action(tenant_tier="free"), attempt=2), 300)
    assert response(finish).data == ["acme", "enterprise", 2, "enterprise"]


def test_the_smallest_time_limit_counts() -> None:
    run = executor()
    assert run.limit_s(claimed(action())) == 300
    assert run.limit_s(claimed(action("short"))) == 2
    assert run.limit_s(claimed(action("short"), deadline_ms=NOW + 500)) == 0.5
    assert run.limit_s(claimed(action(), deadline_ms=NOW - 500)) == 0
    assert run.limit_s(claimed(action(), tier="gone")) == 60


async def test_the_ends_that_come_from_outside() -> None:
    run, asked = executor(), claimed(action())
    late = run.timed_out(asked, 300)
    assert (late.outcome, late.run_time_us) == (Outcome.RETRY, 300_000_000)
    late = run.timed_out(asked._replace(attempt=3), 300)
    assert (late.outcome, error(late).code) == (Outcome.DEAD, "action_timeout")
    assert error(run.cancelled(asked)).code == "action_cancelled"
    assert run.cancelled(asked).outcome is Outcome.CANCELLED
    assert (run.broken(asked, SystemExit(3)).outcome, error(run.broken(asked, SystemExit(3))).type) == (
        Outcome.DEAD,
        "SystemExit",
    )
    unreadable = run.cancelled(asked._replace(payload=b"?"))
    assert error(unreadable).code == "action_cancelled"


async def test_data_that_does_not_fit_reaches_the_caller_as_invalid() -> None:
    finish = await end_of(InvalidAction("data.number: no"))
    assert (finish.outcome, error(finish).code) == (Outcome.DEAD, "invalid_action")


def nested(levels: int) -> Any:
    value: Any = "bottom"
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize("details", [{"body": "x" * 2_000_000}, {"tree": nested(100)}], ids=["large", "deep"])
async def test_an_error_that_quotes_too_much_is_told_without_it(details: dict[str, Any]) -> None:
    """Else whoever waits would hear nothing at all."""
    finish = await end_of(Reject("upstream said no", details=details))
    assert (finish.outcome, error(finish).code) == (Outcome.DEAD, "rejected")
    assert error(finish).message == "upstream said no"
    assert len(finish.response or b"") < 4_000
    callback = action(callback_action_type="probe.done", callback_queue_name=QUEUE)
    finish = await end_of(Reject("upstream said no", details=details), callback)
    assert finish.outcome is Outcome.DEAD
    assert DomainAction.from_json(finish.callback).data["error"]["message"] == "upstream said no"
