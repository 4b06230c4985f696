"""One attempt: resolve, run under its time limit, classify. Ends in a value and knows no Redis."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

from ._engine import Claimed, Clock, Finish, Outcome, Policy, nearest
from .actions import DomainAction, DomainActionResponse, success_json
from .callbacks import callback_for
from .context import enter_attempt
from .endings import closed, reason_of
from .errors import ActionCancelled, ActionExpired, ActionTimeout, InvalidAction, NoobleError
from .payload import DEFAULT_LIMITS, PayloadLimits, of_result
from .retry import RetryPolicy
from .retry_budget import BudgetBook
from .service import BaseService
from .signals import Backpressure, Reject, Retry, Snooze

_log = logging.getLogger(__name__)

Handle = Callable[[DomainAction], Awaitable[Any]]

MAX_ATTEMPTS = 20
"""An action claimed more often than this, and than its policy allows attempts and ``poison_deaths`` deaths of
workers besides, is never finished; it goes to the dead letters unrun."""

_UNKNOWN_TIER_S = 60.0  # for a tier that the policy no longer has
_MOST_LIMITS = 1_000  # remembered; there is one per kind of action, and strangers may make up types


class Executor:
    """Runs claimed actions of one service and says how each attempt ended."""

    def __init__(
        self,
        service: BaseService,
        handle: Handle,
        *,
        domain: str,
        policy: Callable[[], Policy],
        clock: Clock,
        limits: PayloadLimits = DEFAULT_LIMITS,
        poison_deaths: int = 0,
    ) -> None:
        self._service = service
        self._poison_deaths = poison_deaths
        self._handle = handle
        self._clock = clock
        self.on_cancelled: Callable[[str, str], None] = lambda domain, action_id: None
        self._limits = limits
        self._domain = domain
        self._policy = policy
        self._limits_of: Policy | None = None
        self._limits_s: dict[tuple[str, str], float] = {}
        self._budget = None if service.retry_budget is None else BudgetBook(service.retry_budget, clock)

    def limit_s(self, claimed: Claimed) -> float:
        """How long an attempt may run: the smallest of the tier's, the handler's and the deadline's time."""
        policy = self._policy()
        if policy is not self._limits_of or len(self._limits_s) > _MOST_LIMITS:
            self._limits_of, self._limits_s = policy, {}
        kind = (claimed.tier, claimed.action_type)
        limit_s = self._limits_s.get(kind)
        if limit_s is None:
            limit_s = self._limits_s[kind] = self._limit_of(policy, *kind)
        if claimed.deadline_ms:
            limit_s = min(limit_s, max(claimed.deadline_ms - self._clock.now_ms(), 0) / 1000)
        return limit_s

    def _limit_of(self, policy: Policy, tier: str, action_type: str) -> float:
        known = tier in policy.names()
        limit_s = policy.tier(tier, self._domain).timeout if known else _UNKNOWN_TIER_S
        own = self._service.options_of(action_type).timeout_s
        return limit_s if own is None else min(own, limit_s)

    async def run(self, claimed: Claimed, limit_s: float) -> Finish:
        """One attempt at `claimed`; whatever the handler does, this returns how it ended.

        Only a cancellation from outside passes through: the worker stops, the action was cancelled, or it ran
        longer than `limit_s` seconds; whoever cancels knows which.
        """
        started = time.perf_counter()
        action: DomainAction | None = None
        try:
            action = self._read(claimed)
            if claimed.cancelled:
                return self.cancelled(claimed)
            if claimed.expired or claimed.attempt > MAX_ATTEMPTS:
                self._refuse_late(claimed)
            enter_attempt(action, time.time() + limit_s, claimed.attempt, self._domain)
            result = await self._handle(action)
        except Exception as error:
            return self._failed(claimed, action, error, _elapsed_us(started))
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            inner = RuntimeError("something the handler awaited was cancelled, and it did not catch that")
            return self._failed(claimed, action, inner, _elapsed_us(started))
        return self._completed(claimed, action, result, int((time.perf_counter() - started) * 1_000_000))

    def _refuse_late(self, claimed: Claimed) -> None:
        if claimed.expired:
            raise ActionExpired(
                f"the deadline of {claimed.action_type} passed while it waited",
                action_id=claimed.action_id,
            )
        if claimed.attempt > self._most_claims(claimed.action_type):
            raise Reject(f"claimed {claimed.attempt} times: its workers died, or it was never finished")

    def timed_out(self, claimed: Claimed, limit_s: float) -> Finish:
        """The end of an attempt that was stopped after `limit_s` seconds."""
        error = ActionTimeout(
            f"{claimed.action_type} ran longer than its {limit_s:g} s", action_id=claimed.action_id
        )
        return self._failed(claimed, self._try_read(claimed), error, int(limit_s * 1_000_000))

    def cancelled(self, claimed: Claimed) -> Finish:
        """The end of an attempt that somebody asked to cancel."""
        self.on_cancelled(self._domain, claimed.action_id)
        error = ActionCancelled(action_id=claimed.action_id)
        return self._closed(claimed, self._try_read(claimed), Outcome.CANCELLED, error, 0)

    def put_off(self, claimed: Claimed, delay_s: float) -> Finish:
        """For an action that finds too many others waiting for its handler: later, and unspent."""
        due_ms = self._clock.now_ms() + int(delay_s * 1000)
        return Finish(claimed, Outcome.SNOOZED, due_ms=due_ms, reason="its handler had no room in the worker")

    def as_of_now(self, claimed: Claimed) -> Claimed:
        """An action that waited in this worker: it starts now, or its deadline has passed meanwhile."""
        now_ms = self._clock.now_ms()
        return claimed._replace(claimed_ms=now_ms, expired=0 < claimed.deadline_ms <= now_ms)

    def broken(self, claimed: Claimed, error: BaseException) -> Finish:
        """The end of an attempt that left through no regular door (SystemExit, a bug of ours)."""
        _log.error("%s broke its attempt: %r", claimed.action_type, error)
        return self._closed(claimed, self._try_read(claimed), Outcome.DEAD, error, 0)

    def _try_read(self, claimed: Claimed) -> DomainAction | None:
        try:
            return self._read(claimed)
        except NoobleError:
            return None

    def _read(self, claimed: Claimed) -> DomainAction:
        action = DomainAction.from_json(claimed.payload, self._limits)
        fields = action.__dict__  # a model's attributes are found by way of `__getattr__`
        if fields["tenant_id"] != claimed.tenant_id or fields["action_id"] != claimed.action_id:
            raise InvalidAction(
                f"the entry says action {claimed.action_id} of tenant {claimed.tenant_id}, its data says "
                f"{action.action_id} of {action.tenant_id}"
            )
        if fields["tenant_tier"] != claimed.tier:
            action.tenant_tier = claimed.tier
        return action

    def _completed(self, claimed: Claimed, action: DomainAction, result: Any, run_time_us: int) -> Finish:
        response, callback, queue = None, b"", ""
        try:
            if action.callback_action_type is not None:
                callback, queue = self._callback(action, result)
            if claimed.reply_to and not callback:
                response = self._response(claimed, action, result, run_time_us / 1000)
        except NoobleError as error:
            # What the handler returned cannot be sent; trying again would end the same way.
            return self._closed(claimed, action, Outcome.DEAD, of_result(error), run_time_us)
        if self._budget is not None:
            self._budget.succeeded()
        fields = (claimed, Outcome.COMPLETED, response, 0, run_time_us, queue, callback, "", "", 0)
        return tuple.__new__(Finish, fields)  # what Finish(*fields) makes, in half the time

    def _callback(self, action: DomainAction, result: Any) -> tuple[bytes, str]:
        callback = callback_for(action, self._service.app_settings.service_name, result, success=True)
        if callback is None:
            return b"", ""
        return callback.to_json(self._limits), action.callback_queue_name or ""

    def _response(self, claimed: Claimed, action: DomainAction, result: Any, run_time_ms: float) -> bytes:
        if isinstance(result, DomainActionResponse):
            address = {"action_id": action.action_id, "tenant_id": action.tenant_id}
            return result.model_copy(update=address).to_json(self._limits)
        queue_time_ms = max(claimed.claimed_ms - claimed.enqueued_ms, 0)
        return success_json(action, result, self._limits, claimed.attempt, queue_time_ms, run_time_ms)

    def _failed(
        self, claimed: Claimed, action: DomainAction | None, error: Exception, run_time_us: int
    ) -> Finish:
        """Another attempt, or the end."""
        now_ms = self._clock.now_ms()
        match error:
            case Snooze():
                due_ms = now_ms + int(error.delay_s * 1000)
                if 0 < claimed.deadline_ms <= due_ms:
                    late = ActionExpired("it was snoozed beyond its deadline", action_id=claimed.action_id)
                    return self._closed(claimed, action, Outcome.EXPIRED, late, run_time_us)
                return self._later(claimed, Outcome.SNOOZED, due_ms, error, run_time_us)
            case Backpressure():
                return self._pressed(claimed, action, error, now_ms, run_time_us)
            case ActionExpired() if claimed.expired:
                return self._closed(claimed, action, Outcome.EXPIRED, error, run_time_us)
        retry = self._retry_of(claimed.action_type)
        delay_s = self._delay_s(retry, claimed, error, now_ms)
        why_not = ""
        if delay_s is not None:
            due_ms, why_not = self._place(claimed, now_ms + int(delay_s * 1000))
            if not why_not:
                return self._later(claimed, Outcome.RETRY, due_ms, error, run_time_us)
        if not isinstance(error, NoobleError):
            _log.exception("%s failed for good", claimed.action_type, exc_info=error)
        finish = self._closed(claimed, action, Outcome.DEAD, error, run_time_us)
        return finish._replace(reason=f"{finish.reason} ({why_not})") if why_not else finish

    def _pressed(
        self,
        claimed: Claimed,
        action: DomainAction | None,
        error: Backpressure,
        now_ms: int,
        run_time_us: int,
    ) -> Finish:
        """Next in its line again, and nothing of the scope starts for a while."""
        until_ms, scope = error.until_ms(now_ms), error.scope
        limits = [name for name, each in self._policy().limits.items() if each.domain == self._domain]
        if scope not in ("tenant", "tier", "domain") and scope not in limits:
            _log.error(
                "%s says not now for %r, no limit of this domain%s; only its tenant waits",
                claimed.action_type,
                scope,
                nearest(scope, limits),
            )
            scope = "tenant"
        if 0 < claimed.deadline_ms <= until_ms:
            late = ActionExpired("it was held back beyond its deadline", action_id=claimed.action_id)
            finish = self._closed(claimed, action, Outcome.EXPIRED, late, run_time_us)
        else:
            finish = self._later(claimed, Outcome.SNOOZED, 0, error, run_time_us)
        return finish._replace(pressed=scope, pressed_until_ms=until_ms)

    def _place(self, claimed: Claimed, due_ms: int) -> tuple[int, str]:
        """When a retry wanted at `due_ms` may start, or why there is none."""
        too_late = "not retried: no attempt fits before the deadline"
        if claimed.deadline_ms and due_ms >= claimed.deadline_ms:
            return 0, too_late
        if self._budget is None:
            return due_ms, ""
        place_ms = self._budget.place(due_ms)
        if place_ms is None:
            return 0, "not retried: the retry budget is spent, too much of this domain fails"
        if claimed.deadline_ms and place_ms >= claimed.deadline_ms:
            return 0, too_late
        return place_ms, ""

    def _delay_s(self, retry: RetryPolicy, claimed: Claimed, error: Exception, now_ms: int) -> float | None:
        """Seconds to the next attempt; None when there is none."""
        if isinstance(error, Retry):
            if claimed.attempt >= retry.max_attempts:
                return None
            return error.delay_s if error.delay_s is not None else retry.delay_s(claimed.attempt)
        # arq's Retry, known by its shape so that arq need not be installed
        if type(error).__name__ == "Retry" and hasattr(error, "defer_score"):
            allowed = claimed.attempt < retry.max_attempts
            return (error.defer_score or 0) / 1000 if allowed else None
        if isinstance(error, Reject) or not retry.allows(error, claimed.attempt):
            return None
        return retry.delay_s(claimed.attempt, error, now_ms)

    def _most_claims(self, action_type: str) -> int:
        return self._retry_of(action_type).max_attempts + self._poison_deaths

    def _retry_of(self, action_type: str) -> RetryPolicy:
        return self._service.options_of(action_type).retry or self._service.retry_policy

    def _later(
        self, claimed: Claimed, outcome: Outcome, due_ms: int, error: Exception, run_time_us: int
    ) -> Finish:
        return Finish(claimed, outcome, due_ms=due_ms, run_time_us=run_time_us, reason=reason_of(error))

    def _closed(
        self,
        claimed: Claimed,
        action: DomainAction | None,
        outcome: Outcome,
        error: BaseException,
        run_time_us: int,
    ) -> Finish:
        """The end without a result: whoever waits is told why."""
        service_name = self._service.app_settings.service_name
        return closed(claimed, action, outcome, error, run_time_us, service_name)


def _elapsed_us(started: float) -> int:
    return int((time.perf_counter() - started) * 1_000_000)
