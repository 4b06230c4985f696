"""On whose behalf the current code runs: set by the worker, read by clients, state, HTTP calls and logs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from .errors import InvalidAction, MissingTenant
from .ids import check_id, is_id
from .times import aware

if TYPE_CHECKING:
    from .actions import DomainAction

# These have no field of their own in an action; they travel in its metadata.
METADATA_FIELDS = ("agent_id", "conversation_id", "collection_id")
_ID_FIELDS = (
    "tenant_id",
    "tier",
    "session_id",
    "task_id",
    *METADATA_FIELDS,
    "trace_id",
    "correlation_id",
    "action_id",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionContext:
    """Tenant, session, trace and deadline of what is being done right now."""

    tenant_id: str
    tier: str | None = None
    session_id: str | None = None
    task_id: str | None = None
    agent_id: str | None = None
    conversation_id: str | None = None
    collection_id: str | None = None
    trace_id: str | None = None
    correlation_id: str | None = None
    action_id: str | None = None
    action_type: str | None = None
    deadline: datetime | None = None
    attempt: int = 1

    def __post_init__(self) -> None:
        for name in _ID_FIELDS:
            value = getattr(self, name)
            if value is not None or name == "tenant_id":
                check_id(name, value)
        if self.deadline is not None:
            aware(self.deadline, "deadline")

    @classmethod
    def from_action(
        cls, action: DomainAction, *, deadline: datetime | None = None, attempt: int = 1
    ) -> ExecutionContext:
        """The context in which a worker runs `action`; an earlier `deadline` than the action's own wins."""
        metadata = action.metadata
        # A metadata entry of that name may be anybody's; only what is an id is taken for one.
        carried = {name: metadata[name] for name in METADATA_FIELDS if is_id(metadata.get(name))}
        return cls(
            tenant_id=action.tenant_id,
            tier=action.tenant_tier,
            session_id=action.session_id,
            task_id=action.task_id,
            trace_id=action.trace_id,
            correlation_id=action.correlation_id,
            action_id=action.action_id,
            action_type=action.action_type,
            deadline=earliest(action.deadline, deadline),
            attempt=attempt,
            **carried,
        )

    def remaining_s(self, now: datetime | None = None) -> float | None:
        """Seconds until the deadline, 0.0 when it has passed, None when there is none."""
        if self.deadline is None:
            return None
        return max(0.0, (self.deadline - (now or datetime.now(UTC))).total_seconds())

    def inherit(self, action: DomainAction) -> DomainAction:
        """`action`, sent from within this context: what it leaves open is taken from here.

        Trace, session and task continue, the deadline never grows, agent, conversation and collection
        travel in the metadata. The tier is not inherited by an action for another tenant.
        """
        given = action.model_fields_set
        update: dict[str, Any] = {}
        for name in ("session_id", "task_id", "trace_id"):
            value = getattr(self, name)
            if name not in given and value is not None:
                update[name] = value
        if self.tier is not None and action.tenant_tier is None and action.tenant_id == self.tenant_id:
            update["tenant_tier"] = self.tier
        deadline = earliest(action.deadline, self.deadline)
        if deadline is not action.deadline:
            update["deadline"] = deadline
        carried = {name: value for name in METADATA_FIELDS if (value := getattr(self, name)) is not None}
        if not carried.keys() <= action.metadata.keys():
            update["metadata"] = {**carried, **action.metadata}
        return action.model_copy(update=update) if update else action

    def to_dict(self) -> dict[str, Any]:
        """What is known, without what is not; the deadline as ISO text."""
        known = {field.name: getattr(self, field.name) for field in fields(self)}
        if self.deadline is not None:
            known["deadline"] = self.deadline.isoformat()
        return {name: value for name, value in known.items() if value is not None}


class _OfAttempt(NamedTuple):
    """What the context of an attempt is made of when somebody asks for it: most handlers never do."""

    action: DomainAction
    deadline: datetime | float
    attempt: int
    domain: str
    made: list[ExecutionContext]

    def get(self) -> ExecutionContext:
        if not self.made:
            deadline = self.deadline
            if isinstance(deadline, float):
                deadline = datetime.fromtimestamp(deadline, UTC)
            self.made.append(
                ExecutionContext.from_action(self.action, deadline=deadline, attempt=self.attempt)
            )
        return self.made[0]


_current: ContextVar[ExecutionContext | _OfAttempt | None] = ContextVar(
    "nooble_execution_context", default=None
)


def current_context() -> ExecutionContext | None:
    """The context of the running task, None outside of any."""
    current = _current.get()
    return current.get() if isinstance(current, _OfAttempt) else current


def enter_attempt(
    action: DomainAction, deadline: datetime | float, attempt: int = 1, domain: str = ""
) -> None:
    """From here on the running task acts for `action`; `deadline` is when its attempt must be over, a moment
    or seconds since 1970.

    `domain`: where a worker claimed it; none outside of a worker.
    """
    _current.set(tuple.__new__(_OfAttempt, (action, deadline, attempt, domain, [])))


def parent_of_sent() -> tuple[str, str] | None:
    """Domain and id of the action in whose attempt, by a worker, this code runs; None outside of any, and in
    a context of the handler's own."""
    current = _current.get()
    if isinstance(current, _OfAttempt) and current.domain:
        return current.domain, current.action.action_id
    return None


def current_tenant_id(explicit: str | None = None) -> str:
    """The tenant meant: the explicit one, else the context's; MissingTenant when there is neither."""
    if explicit is not None:
        return check_id("tenant_id", explicit)
    context = current_context()
    if context is None:
        raise MissingTenant
    return context.tenant_id


@contextmanager
def use_context(context: ExecutionContext | None) -> Iterator[ExecutionContext | None]:
    """Run the block in `context`; tasks started inside keep it, the former one comes back after."""
    token = _current.set(context)
    try:
        yield context
    finally:
        _current.reset(token)


def earliest(*moments: datetime | None) -> datetime | None:
    """The first of the moments in time, None when none is given."""
    given = [moment for moment in moments if moment is not None]
    return min(given) if given else None


def tenant_or_current(tenant_id: str | None) -> str:
    """The tenant that is named, else the one on whose behalf the current handler runs."""
    if tenant_id is not None:
        return tenant_id
    context = current_context()
    if context is None:
        raise InvalidAction("tenant_id is missing; give it, or call from inside a handler")
    return context.tenant_id
