"""The values that say why an action waits, where it runs, or how it ended."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from .attempts import AttemptError
from .inspect import OutcomeEvent
from .model import State


class Cause(StrEnum):
    """What keeps an action from starting. The first one in :attr:`Why.causes` is what to look at."""

    ENTRY_GONE = "entry_gone"
    NO_TIER = "no_tier"
    PAUSED = "paused"
    SCHEDULED = "scheduled"
    RETRY = "retry"
    BACKPRESSURE = "backpressure"
    LIMIT = "limit"
    TIER_LIMIT = "tier_limit"
    DOMAIN_LIMIT = "domain_limit"
    NAMED_LIMIT = "named_limit"
    CONCURRENCY = "concurrency"
    NO_WORKER = "no_worker"
    WORKERS_QUIET = "workers_quiet"
    NO_HANDLER = "no_handler"
    WORKERS_BUSY = "workers_busy"
    OWN_LINE = "own_line"
    TENANTS_AHEAD = "tenants_ahead"
    TIERS_AHEAD = "tiers_ahead"
    LEASE_ENDED = "lease_ended"
    EXPIRES = "expires"


class Binding(NamedTuple):
    """One thing that binds: which, in words, and until when (epoch ms; None: no time is known)."""

    cause: Cause
    text: str
    until_ms: int | None = None


class Why(NamedTuple):
    """Everything that is known of one action at ``at_ms``; times are epoch milliseconds, 0 for none.

    ``sentence`` says it in words. ``ahead``: actions before it in its tenant's line, counted when
    ``ahead_exact``, else at least so many; ``starts_ahead``: an estimate of all starts before its own, other
    tenants' and better tiers' included; None where it cannot be said. ``causes``: what binds it, what to look
    at first. ``earliest_start_ms``: what schedules and limits allow, slots being free; None when that is not
    known, and not before that moment when ``earliest_exact`` is False. ``attempt`` is the one that runs, else
    how many have been spent. ``worker``, ``started_ms`` and ``lease_until_ms``: of a running one.
    ``history``: attempts that have ended, as far as the event stream remembers, ``errors``: those that failed
    of one that is alive, newest first both. ``reason``: why a dead one is.
    """

    action_id: str
    domain: str
    state: State
    at_ms: int
    sentence: str = ""
    tenant_id: str = ""
    tier: str = ""
    action_type: str = ""
    unique_key: str = ""
    enqueued_ms: int = 0
    due_ms: int = 0
    deadline_ms: int = 0
    attempt: int = 0
    ahead: int | None = None
    ahead_exact: bool = True
    starts_ahead: int | None = None
    causes: tuple[Binding, ...] = ()
    earliest_start_ms: int | None = None
    earliest_exact: bool = True
    worker: str = ""
    started_ms: int = 0
    lease_until_ms: int = 0
    history: tuple[OutcomeEvent, ...] = ()
    errors: tuple[AttemptError, ...] = ()
    reason: str = ""
