"""How an action without a result ends: whoever waits is told why, by a response or a callback."""

from __future__ import annotations

from collections.abc import Callable

from ._engine import Claimed, Finish, Outcome, Poisoned
from .actions import DomainAction, DomainActionResponse
from .callbacks import callback_for, error_callback_data
from .delivery_errors import WorkerDied
from .error_mapping import detail_from_exception
from .errors import NoobleError
from .payload import DEFAULT_LIMITS, PayloadLimits


def closed(
    claimed: Claimed,
    action: DomainAction | None,
    outcome: Outcome,
    error: BaseException,
    run_time_us: int,
    service_name: str,
) -> Finish:
    """The end of an action by `error`; `action` is None where its payload cannot be read."""
    response, callback, queue = None, None, ""
    if action is not None:
        callback = callback_for(action, service_name, error_callback_data(error), success=False)
    if callback is not None and action is not None:
        queue = action.callback_queue_name or ""
    elif claimed.reply_to:
        response = _error_response(claimed, action, error, run_time_us)
    return Finish(
        claimed,
        outcome,
        response,
        run_time_us=run_time_us,
        callback_queue=queue,
        callback=callback.to_json() if callback is not None else b"",
        reason=reason_of(error),
    )


def reason_of(error: BaseException) -> str:
    """What a dead letter and the history of attempts say of an error."""
    text = f"{type(error).__name__}: {error}"
    return text[:1000].encode("utf-8", "replace").decode()


def closing_poisoned(
    service_name: str, limits: PayloadLimits = DEFAULT_LIMITS
) -> Callable[[Poisoned], Finish]:
    """What the engine is to do with an action with which worker after worker died."""

    def close(poisoned: Poisoned) -> Finish:
        claimed = poisoned.action
        try:
            action = DomainAction.from_json(claimed.payload, limits)
        except NoobleError:
            action = None
        error = WorkerDied(
            f"{poisoned.deaths} workers died while they ran {claimed.action_type}; it is not run again",
            action_id=claimed.action_id,
        )
        return closed(claimed, action, Outcome.DEAD, error, 0, service_name)._replace(reason=poisoned.reason)

    return close


def _error_response(
    claimed: Claimed, action: DomainAction | None, error: BaseException, run_time_us: int
) -> bytes | None:
    try:
        return DomainActionResponse(
            success=False,
            error=detail_from_exception(error),
            action_id=claimed.action_id,
            action_type=claimed.action_type,
            tenant_id=claimed.tenant_id,
            correlation_id=action.correlation_id if action else None,
            trace_id=action.trace_id if action else None,
            attempt=claimed.attempt,
            queue_time_ms=max(claimed.claimed_ms - claimed.enqueued_ms, 0),
            run_time_ms=run_time_us / 1000,
        ).to_json()
    except NoobleError:
        return None  # a stranger's entry under an id that no caller can have
