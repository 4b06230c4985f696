"""The values that pass between the engine and its callers. Payloads are opaque bytes."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from .limits import Limit


class State(StrEnum):
    """Where an action is. See ``docs/states.md``."""

    SCHEDULED = "scheduled"
    READY = "ready"
    HELD = "held"
    RUNNING = "running"
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    DEAD = "dead"
    UNKNOWN = "unknown"


class Outcome(StrEnum):
    """How an attempt ended."""

    COMPLETED = "completed"
    RETRY = "retry"
    SNOOZED = "snoozed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    DEAD = "dead"


class Scope(StrEnum):
    """Who all is meant by a stop that is wider than a tenant."""

    DOMAIN = "domain"
    TIER = "tier"
    LIMIT = "limit"


class NewAction(NamedTuple):
    """An action to enqueue.

    ``tier``: the claimed one, empty for the tenant's own; after a ``~`` one that was inherited, not chosen.
    ``due_ms`` 0 means now; ``deadline_ms`` 0 means none (both epoch milliseconds). ``reply_to``: empty,
    nobody asked and no response is stored; ``*``, store it; a client id, store it and notify that client.
    ``unique_key``: at most one action with this key is alive in the domain.
    """

    action_id: str
    action_type: str
    tenant_id: str
    tier: str
    payload: bytes
    due_ms: int = 0
    deadline_ms: int = 0
    reply_to: str = ""
    unique_key: str = ""


class RefusalReason(StrEnum):
    """Why an action may not wait."""

    TIER = "tier"
    UNKNOWN_TIER = "unknown_tier"
    DRAINING = "draining"
    BACKLOG = "backlog"
    LIMIT = "limit"
    DEADLINE = "deadline"


class Refusal(NamedTuple):
    """Why nothing was written of an action. ``tier``: the one it claims, or would have had.

    ``allowed_tier``: the best it may claim; ``registered``: whether that is its registration or the default
    tier. ``known``: the tiers there are, best first. ``limit``: which one has no room (of a backlog
    ``actions`` or ``bytes``, ``amount`` of at most ``most``); ``retry_after_ms``: when it has more, as far as
    is known now.
    """

    reason: RefusalReason
    tenant_id: str
    tier: str
    allowed_tier: str = ""
    registered: bool = False
    known: tuple[str, ...] = ()
    limit: str = ""
    amount: int = 0
    most: int = 0
    retry_after_ms: int = 0


class Enqueued(NamedTuple):
    """What became of one :class:`NewAction`.

    ``accepted`` is False when the same ``action_id`` was already there (``existing_id`` is that id), when an
    alive action holds the same unique key (``existing_id`` is the holder's), or when it was refused
    (``refusal`` says why). ``tier``: the one it waits in; of an action that has ended, the one claimed.
    """

    action_id: str
    accepted: bool
    existing_id: str = ""
    tier: str = ""
    refusal: Refusal | None = None


class Claimed(NamedTuple):
    """An action this worker owns until it finishes, releases, or loses its lease.

    ``attempt`` counts from 1; ``token`` is the claim's own number, the fence that ``finish`` checks.
    ``expired``: its deadline passed while it waited; answer it, do not run it. ``cancelled``: nor this one,
    somebody asked to cancel it when it ran before.
    """

    action_id: str
    action_type: str
    tenant_id: str
    tier: str
    payload: bytes
    attempt: int
    token: int
    enqueued_ms: int
    claimed_ms: int
    deadline_ms: int
    reply_to: str
    unique_key: str
    expired: bool
    cancelled: bool = False


class Claim(NamedTuple):
    """The reply to ``claim``.

    ``next_due_ms``: when something held or scheduled becomes startable (0: nothing known), meaningful
    when ``more`` is False. ``more``: something startable was left behind. ``lost``: the worker is not
    registered (any more); what it held belongs to others now. ``policy_version``: under which version of the
    policy this was decided, 0 for one that never was in the store.
    """

    actions: list[Claimed]
    next_due_ms: int
    more: bool
    lost: bool = False
    policy_version: int = 0


class Finish(NamedTuple):
    """The end of one attempt.

    ``due_ms``: when to try again (retry, snoozed). ``response``: bytes to store for whoever asked.
    ``callback_queue``/``callback``: a callback action for a list of the same domain's callback prefix.
    ``reason``: why it is dead, or why it is retried; ``run_time_us``: measured run time.
    ``pressed``: its handler said not now until ``pressed_until_ms`` for ``tenant``, ``tier``, ``domain`` or
    the limit of that name.
    """

    action: Claimed
    outcome: Outcome
    response: bytes | None = None
    due_ms: int = 0
    run_time_us: int = 0
    callback_queue: str = ""
    callback: bytes = b""
    reason: str = ""
    pressed: str = ""
    pressed_until_ms: int = 0


class Retention(NamedTuple):
    """How long dead letters stay: the newest ``letters`` per tenant, and none longer than ``letters_ms``."""

    letters: int = 10_000
    letters_ms: int = 14 * 86_400_000


class Override(NamedTuple):
    """What operators have set for one tenant; it outranks its tier. None: as the tier says.

    ``limits`` replace those of the tier; ``paused``: nothing of the tenant starts. ``by``, ``at_ms`` and
    ``why`` tell of the last change of the rules; ``paused_by`` and its like, of the pause. ``time_zone``:
    where its calendar quotas begin.
    """

    weight: float | None = None
    limits: tuple[Limit, ...] | None = None
    max_concurrency: int | None = None
    paused: bool = False
    by: str = ""
    at_ms: int = 0
    why: str = ""
    paused_by: str = ""
    paused_at_ms: int = 0
    paused_why: str = ""
    time_zone: str | None = None

    @property
    def has_rules(self) -> bool:
        """Whether it says anything besides a pause."""
        return (self.weight, self.limits, self.max_concurrency, self.time_zone) != (None,) * 4


class Extended(NamedTuple):
    """The reply to ``extend``: is the lease still ours, and which owned actions are to be cancelled."""

    held: bool
    cancelled: list[str]


class Promoted(NamedTuple):
    """The reply to ``promote``: how many became ready, and when the next is due (0: none)."""

    moved: int
    next_due_ms: int


class Reclaimed(NamedTuple):
    """The reply to ``reclaim``: dead workers found and actions taken back."""

    workers: int
    actions: int
