"""Every error nooble-tasks raises on purpose, in one tree.

    NoobleError
    ├── InvalidAction             refused at the sender, before anything was written
    │   ├── InvalidId
    │   ├── InvalidTime
    │   ├── PayloadTooLarge
    │   ├── PayloadTooDeep
    │   ├── PayloadNotSerializable
    │   ├── UnknownTier
    │   ├── UnknownDomain
    │   ├── TierNotAllowed        the tenant has no such tier (in refusals.py)
    │   ├── UnknownTenant         no trace of it (in lookup_errors.py, as are the next two)
    │   ├── UnknownActionType     none of that type was seen
    │   ├── UnknownWorker
    │   ├── UnknownLetter         no such dead letter (in delivery_errors.py)
    │   └── UnknownAction         refused at the worker: nothing handles that action type
    ├── ActionNotFound            no such id (in lookup_errors.py)
    ├── InvalidResponse
    ├── ActionError               what the caller of request() or of ActionHandle.result() meets
    │   ├── ActionTimeout
    │   ├── ActionFailed
    │   ├── ActionExpired
    │   ├── ActionCancelled
    │   ├── RateLimited
    │   ├── BacklogFull           in refusals.py, as is the next
    │   ├── TenantDraining
    │   ├── WorkerDied            worker after worker died with it (in delivery_errors.py, as is the next)
    │   ├── NotReplicated         in line, but not confirmed by enough replicas
    │   └── QueueUnavailable
    ├── LeaseLost
    ├── HandlerProcessDied        (in delivery_errors.py, as is the next)
    ├── WorkerStopping            it gives the action back, unspent
    ├── StateError
    │   ├── MissingTenant
    │   ├── StateModelMismatch
    │   └── StateConflict
    ├── ConfigurationError
    │   └── ServerRefused         in delivery_errors.py
    ├── NotInitialized
    └── HandlerSignal             what a handler raises to steer its own action (in signals.py)
        ├── Retry
        ├── Snooze
        ├── Reject
        └── Backpressure

The docstring of a class is its message when none is given. `code` is stable and travels in `ErrorDetail`.
What an error knows besides its message is in `details`, so it survives pickling and the bus alike.
"""
# ruff: noqa: N818 - the names are the contract's; most of them say what happened

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Self, cast

from .error_detail import ErrorDetail
from .naming import closest as closest
from .naming import did_you_mean as did_you_mean
from .naming import shorten as shorten


class NoobleError(Exception):
    """An operation of nooble-tasks failed."""

    code: ClassVar[str] = "nooble_error"
    retryable: ClassVar[bool] = False

    def __init__(self, message: str | None = None, *, details: Mapping[str, Any] | None = None) -> None:
        self.message = message if message is not None else _first_line(type(self))
        self.details: dict[str, Any] = dict(details or {})
        super().__init__(self.message)

    def __str__(self) -> str:
        return self.message

    def __reduce__(self) -> tuple[Any, ...]:
        # Subclasses have signatures of their own; what they know is all in message and details.
        return _rebuild, (type(self), self.message, self.details)

    @classmethod
    def rebuilt(cls, message: str, details: Mapping[str, Any]) -> Self:
        """The same error from what travelled: message and details."""
        error = cls.__new__(cls)
        NoobleError.__init__(error, message, details=details)
        return error


def _first_line(cls: type[NoobleError]) -> str:
    return (cls.__doc__ or cls.__name__).strip().split("\n")[0]


def _rebuild(cls: type[NoobleError], message: str, details: Mapping[str, Any]) -> NoobleError:
    return cls.rebuilt(message, details)


# -- refused before anything was written -------------------------------------------------------------------


class InvalidAction(NoobleError, ValueError):
    """The action cannot be sent as it is."""

    code = "invalid_action"


class InvalidId(InvalidAction):
    """An id has a form that cannot become part of a key."""

    code = "invalid_id"

    def __init__(self, field: str, value: object, rule: str, advice: str = "") -> None:
        shown = shorten(value)
        message = f"{field} {shown} is not valid: {rule}"
        super().__init__(
            f"{message}; {advice}" if advice else message,
            details={"field": field, "value": shown, "rule": rule},
        )


class InvalidTime(InvalidAction):
    """A time is naive, negative or not a time at all."""

    code = "invalid_time"


class PayloadTooLarge(InvalidAction):
    """The payload has more bytes than the limit."""

    code = "payload_too_large"


class PayloadTooDeep(InvalidAction):
    """The payload is nested more deeply than the limit."""

    code = "payload_too_deep"


class PayloadNotSerializable(InvalidAction):
    """The payload holds a value that JSON cannot carry."""

    code = "payload_not_serializable"


class UnknownTier(InvalidAction):
    """No tier has that name."""

    code = "unknown_tier"

    def __init__(self, tier: str, known: Iterable[str] = ()) -> None:
        names = sorted(known)
        hint = f"; the tiers are {', '.join(names)}" if names else ""
        super().__init__(
            f"there is no tier {shorten(tier)}{did_you_mean(tier, names)}{hint}", details={"tier": tier}
        )


class UnknownDomain(InvalidAction):
    """No service has that domain."""

    code = "unknown_domain"

    def __init__(self, domain: str, known: Iterable[str] = ()) -> None:
        names = sorted(known)
        super().__init__(
            f"there is no domain {shorten(domain)}{did_you_mean(domain, names)}; "
            f"known are {', '.join(names) or 'none'}: register its service or correct the name",
            details={"domain": domain, "near": [near for near in (closest(domain, names),) if near]},
        )


class UnknownAction(InvalidAction):
    """No handler is registered for that action type."""

    code = "unknown_action"

    def __init__(self, action_type: str, known: Iterable[str] = ()) -> None:
        names = sorted(known)
        super().__init__(
            f"nothing handles {shorten(action_type)}{did_you_mean(action_type, names)}; "
            f"this service handles {', '.join(names) or 'nothing'}",
            details={"action_type": action_type},
        )


class InvalidResponse(NoobleError):
    """A response contradicts itself or cannot be read."""

    code = "invalid_response"


# -- what a caller meets -----------------------------------------------------------------------------------


class ActionError(NoobleError):
    """The action did not end with a result."""

    code = "action_error"

    def __init__(
        self,
        message: str | None = None,
        *,
        action_id: str | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> None:
        known = dict(details or {})
        if action_id is not None:
            known["action_id"] = action_id
        super().__init__(message, details=known)

    @property
    def action_id(self) -> str | None:
        """The action this is about, where known."""
        return cast("str | None", self.details.get("action_id"))

    @property
    def detail(self) -> ErrorDetail | None:
        """What the other side said, where it said something."""
        raw = self.details.get("error")
        return None if raw is None else ErrorDetail.model_validate(raw)


class ActionTimeout(ActionError):
    """No answer came within the time the caller was ready to wait, or the handler ran longer than allowed."""

    code = "action_timeout"
    retryable = True


class ActionFailed(ActionError):
    """The handler of the action failed."""

    code = "action_failed"


class ActionExpired(ActionError):
    """The deadline passed before the action could start."""

    code = "action_expired"


class ActionCancelled(ActionError):
    """The action was cancelled."""

    code = "action_cancelled"


class RateLimited(ActionError):
    """A limit of the tenant or of its tier refuses the action for now."""

    code = "rate_limited"
    retryable = True

    def __init__(
        self,
        message: str | None = None,
        *,
        retry_after_s: float = 0.0,
        action_id: str | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> None:
        known = {**(details or {}), "retry_after_s": retry_after_s}
        super().__init__(message, action_id=action_id, details=known)

    @property
    def retry_after_s(self) -> float:
        """Seconds after which the same action can be accepted."""
        return float(self.details.get("retry_after_s", 0.0))


class QueueUnavailable(ActionError):
    """Redis cannot be reached or refuses to write."""

    code = "queue_unavailable"
    retryable = True


# -- worker, state, configuration --------------------------------------------------------------------------


class LeaseLost(NoobleError):
    """The lease ended while the action ran; somebody else owns it now and nothing may be written for it."""

    code = "lease_lost"


class StateError(NoobleError):
    """A stored state cannot be used."""

    code = "state_error"


class MissingTenant(StateError):
    """No tenant is known: pass tenant_id=, or call inside use_context(...)."""

    code = "missing_tenant"


class StateModelMismatch(StateError):
    """The stored state does not fit the model."""

    code = "state_model_mismatch"


class StateConflict(StateError):
    """Others kept changing the state; the update was given up."""

    code = "state_conflict"
    retryable = True


class ConfigurationError(NoobleError):
    """The configuration is wrong."""

    code = "configuration_error"


class NotInitialized(NoobleError, RuntimeError):
    """RedisManager is not open: await initialize() first, or use await get_redis_connection()."""

    code = "not_initialized"


# -- what a handler says -----------------------------------------------------------------------------------


class HandlerSignal(NoobleError):
    """A handler steers its own action."""

    code = "handler_signal"
