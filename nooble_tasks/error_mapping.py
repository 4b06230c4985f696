"""From an exception to what the other side is told of it, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from pydantic_core import PydanticSerializationError, from_json, to_json

from .delivery_errors import NotReplicated, WorkerDied
from .error_detail import ErrorDetail
from .errors import (
    ActionCancelled,
    ActionError,
    ActionExpired,
    ActionFailed,
    ActionTimeout,
    InvalidAction,
    NoobleError,
    QueueUnavailable,
    RateLimited,
    shorten,
)
from .payload import PayloadLimits, check_document
from .refusals import BacklogFull, TenantDraining

_MAX_MESSAGE = 2_000
_SHORT = 100
_MOST_DETAILS = 50
_DETAIL = PayloadLimits(16_384, 32)
"""What one of them may weigh."""


def detail_from_exception(error: BaseException, *, retryable: bool | None = None) -> ErrorDetail:
    """What the other side is told of an exception; `retryable` overrides what the class says."""
    if isinstance(error, NoobleError):
        code, details, default = error.code, _json_safe(error.details), error.retryable
    else:
        code, details = "handler_error", {}
        default = isinstance(error, ConnectionError | TimeoutError)
    return ErrorDetail(
        type=type(error).__name__,
        code=code,
        message=_message_of(error),
        details=details,
        retryable=default if retryable is None else retryable,
    )


def error_from_detail(detail: ErrorDetail, *, action_id: str | None = None) -> ActionError:
    """The exception a caller gets for an answer's error: the class with that code, else ActionFailed.

    What the other side said stays readable as `.detail`.
    """
    cls = _ACTION_ERRORS.get(detail.code)
    if cls is None:
        message = f"{detail.type}: {detail.message}" if detail.message else detail.type
        return ActionFailed.rebuilt(message, {"action_id": action_id, "error": detail.to_dict()})
    details = {**detail.details, "error": detail.to_dict()} if cls is ActionFailed else dict(detail.details)
    if action_id is not None:
        details["action_id"] = action_id
    return cls.rebuilt(detail.message, details)


def _json_safe(details: Mapping[str, Any]) -> dict[str, Any]:
    # An error must always be answerable, so what JSON cannot carry is shown instead of refused.
    try:
        safe = to_json(dict(details), fallback=repr, inf_nan_mode="strings")
        return _fitting(from_json(safe)) if len(safe) > _SHORT else cast("dict[str, Any]", from_json(safe))
    except (ValueError, PydanticSerializationError):
        return {"unreadable": _message_of(ValueError(shorten(details)))}


def _fitting(details: dict[str, Any]) -> dict[str, Any]:
    """Without what is too large or too deep for an answer, such as the body of somebody else's answer."""
    fitting: dict[str, Any] = {}
    for name, value in [*details.items()][:_MOST_DETAILS]:
        raw = to_json(value)
        try:
            check_document(raw, _DETAIL)
            fitting[name[:_SHORT]] = value
        except InvalidAction:
            fitting[name[:_SHORT]] = f"left out: {len(raw):,} bytes of JSON"
    return fitting


def _message_of(error: BaseException) -> str:
    try:
        text = str(error) or type(error).__name__
    except Exception:  # an exception whose own __str__ fails must still be answered
        text = f"{type(error).__name__} (its message cannot be read)"
    if len(text) > _MAX_MESSAGE:
        text = text[:_MAX_MESSAGE] + "…"
    return text.encode("utf-8", "replace").decode()  # a lone surrogate cannot travel


_ACTION_ERRORS: dict[str, type[ActionError]] = {
    cls.code: cls
    for cls in (
        ActionError,
        ActionTimeout,
        ActionFailed,
        ActionExpired,
        ActionCancelled,
        RateLimited,
        QueueUnavailable,
        WorkerDied,
        NotReplicated,
        TenantDraining,
        BacklogFull,
    )
}
