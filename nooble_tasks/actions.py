"""What services say to each other: an action, and the response to it."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated, Any, ClassVar, Self, TypeVar

from pydantic import AliasChoices, BaseModel, Field, PlainSerializer, TypeAdapter, model_validator
from pydantic_core import PydanticSerializationError, to_json

from .error_detail import ErrorDetail
from .errors import InvalidResponse, NoobleError
from .ids import DEFAULT_REGISTRY, new_id
from .payload import PayloadLimits, check_document, plain, surely_fits
from .wire import ActionType, Id, Moment, RedisKey, WireModel

__all__ = ["DomainAction", "DomainActionResponse", "ErrorDetail"]

T = TypeVar("T")


def _now() -> datetime:
    return datetime.now(UTC)


class DomainAction(WireModel):
    """One thing that one service asks of another, for one tenant.

    `data` may be given as a pydantic model, a dictionary or any JSON value; it is kept as plain JSON types,
    so that the handler sees what the sender sees; None is the same as {}. `deadline` is absolute: nothing
    starts after it.
    """

    _noun: ClassVar[str] = "action"
    _aliases: ClassVar[frozenset[str]] = frozenset({"callback_queue"})
    _detached_fields: ClassVar[tuple[str, ...]] = ("data", "metadata")

    action_id: Id = Field(default_factory=new_id)
    action_type: ActionType
    tenant_id: Id
    tenant_tier: Id | None = None
    session_id: Id | None = None
    task_id: Id | None = None
    origin_service: Id | None = None
    target_service: Id | None = None
    correlation_id: Id | None = None
    trace_id: Id = Field(default_factory=new_id)
    callback_queue_name: RedisKey | None = Field(
        default=None, validation_alias=AliasChoices("callback_queue_name", "callback_queue")
    )
    callback_action_type: ActionType | None = None
    data: Any = Field(default_factory=dict)
    metadata: dict[str, Any] = Field(default_factory=dict)
    deadline: Moment | None = None
    created_at: Moment = Field(default_factory=_now)
    idempotency_key: Id | None = None
    unique_key: Id | None = None

    @property
    def callback_queue(self) -> str | None:
        """`callback_queue_name` by its older name."""
        return self.callback_queue_name

    @property
    def domain(self) -> str:
        """Where the action goes: its target service's domain, else the first part of its type."""
        if self.target_service is None:
            return self.action_type.partition(".")[0]
        return DEFAULT_REGISTRY.domain_of_service(self.target_service)


class DomainActionResponse(WireModel):
    """The one answer to an action: data when it succeeded, an error when it did not.

    `data` may be a pydantic model; it travels as JSON and the receiver reads it back with `data_as`.
    """

    _noun: ClassVar[str] = "response"
    _error: ClassVar[type[NoobleError]] = InvalidResponse
    _plain_fields: ClassVar[tuple[str, ...]] = ("data",)

    success: bool
    # Made plain first: the envelope leaves out what is None, a model inside the data must not.
    data: Annotated[Any, PlainSerializer(plain, when_used="json")] = None
    error: ErrorDetail | None = None
    action_id: Id | None = None
    action_type: str | None = None
    correlation_id: Id | None = None
    tenant_id: Id | None = None
    trace_id: Id | None = None
    attempt: int | None = None
    queue_time_ms: float | None = None
    run_time_ms: float | None = None

    @model_validator(mode="after")
    def _one_outcome(self) -> Self:
        if self.success and self.error is not None:
            raise ValueError("a successful response has no error; set success=False or drop the error")
        if not self.success and self.error is None:
            raise ValueError("a failed response needs an error; give an ErrorDetail")
        return self

    @classmethod
    def succeeded(cls, action: DomainAction, data: Any = None, **run: Any) -> Self:
        """The answer to `action` with its result; `run` may hold attempt, queue_time_ms and run_time_ms."""
        return cls(success=True, data=data, **_address(action), **run)

    @classmethod
    def failed(cls, action: DomainAction, error: ErrorDetail, **run: Any) -> Self:
        """The answer to `action` with what went wrong."""
        return cls(success=False, error=error, **_address(action), **run)

    def data_as(self, kind: type[T]) -> T:
        """The data as a model or any type pydantic knows; its ValidationError when the data does not fit."""
        if isinstance(self.data, BaseModel) and isinstance(self.data, kind):
            return self.data
        return TypeAdapter(kind).validate_python(self.data)


def _address(action: DomainAction) -> dict[str, Any]:
    return {
        "action_id": action.action_id,
        "action_type": action.action_type,
        "correlation_id": action.correlation_id,
        "tenant_id": action.tenant_id,
        "trace_id": action.trace_id,
    }


@lru_cache(1024)
def _written(milliseconds: float) -> str:
    """A run time. Writing a float takes a while, and those of short handlers come again and again."""
    return repr(milliseconds)


def success_json(
    action: DomainAction,
    data: Any,
    limits: PayloadLimits,
    attempt: int,
    queue_time_ms: int,
    run_time_ms: float,
) -> bytes:
    """What `DomainActionResponse.succeeded(action, data, **run).to_json(limits)` gives, without the model.

    Every completed action passes here; making a model only to write it would cost more than running many a
    handler. What cannot be written is left to the model, which says where it stands.
    """
    try:
        result = to_json(data, inf_nan_mode="constants", by_alias=True)
        # Nothing that ids are made of needs to be escaped.
        fields = action.__dict__
        correlation_id = fields["correlation_id"]
        correlation = "" if correlation_id is None else f'"correlation_id":"{correlation_id}",'
        rest = (
            f',"action_id":"{fields["action_id"]}","action_type":"{fields["action_type"]}",{correlation}'
            f'"tenant_id":"{fields["tenant_id"]}","trace_id":"{fields["trace_id"]}",'
            f'"attempt":{attempt},"queue_time_ms":{queue_time_ms},"run_time_ms":{_written(run_time_ms)}}}'
        )
        raw = b'{"success":true,"data":' + result + rest.encode()
        if not surely_fits(raw, result, limits):
            check_document(raw, limits, what="response")
    except (PydanticSerializationError, ValueError, RecursionError):
        run = {"attempt": attempt, "queue_time_ms": queue_time_ms, "run_time_ms": run_time_ms}
        return DomainActionResponse.succeeded(action, data, **run).to_json(limits)
    return raw
