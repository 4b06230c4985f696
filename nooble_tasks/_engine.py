"""The only door to the scheduler.

In the wheel it lives at `nooble_tasks._scheduler`, so that a user's own `scheduler.py` is not shadowed; in a
checkout it is the top-level package. Everything else in the library imports it from here.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scheduler import (
        Claim,
        Claimed,
        Clock,
        DryRun,
        Engine,
        Enqueued,
        Extended,
        Finish,
        Keys,
        ManualClock,
        NewAction,
        Occupied,
        Outcome,
        Override,
        Policy,
        PolicyChange,
        PolicyConflictError,
        PolicyDiff,
        PolicyError,
        PolicyStore,
        PolicyVersion,
        Promoted,
        Published,
        Reclaimed,
        Refusal,
        RefusalReason,
        Registration,
        Registry,
        RegistryError,
        Replication,
        Retention,
        SchedulerError,
        ScriptError,
        ServerClock,
        State,
        SystemClock,
        TierEffect,
        TierInUseError,
        TierPolicy,
        UnconfirmedError,
        UnknownLimitError,
        UnknownTierError,
        UnknownVersionError,
        children,
        known,
        maintenance,
        matching,
        overrides,
        pauses,
        roster,
        scripts,
        shares,
        simulation,
        usage,
    )
    from scheduler import inspect as inspection
    from scheduler import tenants as crowd
    from scheduler import why as reasons
    from scheduler.admission import INHERITED
    from scheduler.attempts import AttemptError
    from scheduler.backfill import Backfilled
    from scheduler.backfill import backfill as backfill_schedule
    from scheduler.cron_times import explain as explain_cron
    from scheduler.dead_letters import DeadLetter, DeadLetters, LetterFilter, Note, OpenedLetter
    from scheduler.engine import read_extended
    from scheduler.errors import nearest
    from scheduler.pauses import Operation, Pause
    from scheduler.poison import Poisoned, PoisonRule
    from scheduler.roster import RunningAction, WorkerStanding
    from scheduler.schedule_errors import ScheduleConflictError, ScheduleError, UnknownScheduleError
    from scheduler.schedule_store import Listed, ScheduleStore, claimed_tier
    from scheduler.schedules import DUE_MARK, ID_MARK, Misfire, Overlap, Schedule
    from scheduler.schedules import action_of as action_of_schedule
    from scheduler.schedules import checked as checked_schedule
    from scheduler.shares import TierStanding
    from scheduler.tenants import SortBy, TenantRow, Tenants
    from scheduler.ticker import Ticker
    from scheduler.usage import LimitStatus, TenantLimits
    from scheduler.why import Binding, Cause, Why
else:
    _NAME = f"{__package__}._scheduler" if find_spec(f"{__package__}._scheduler") else "scheduler"

    def _part(name: str) -> Any:
        return import_module(f"{_NAME}.{name}")

    _scheduler = import_module(_NAME)
    _schedules, _stored = _part("schedules"), _part("schedule_store")
    DUE_MARK, ID_MARK = _schedules.DUE_MARK, _schedules.ID_MARK
    Misfire, Overlap, Schedule = _schedules.Misfire, _schedules.Overlap, _schedules.Schedule
    action_of_schedule, checked_schedule = _schedules.action_of, _schedules.checked
    Listed, ScheduleStore = _stored.Listed, _stored.ScheduleStore
    claimed_tier = _stored.claimed_tier
    Ticker, explain_cron = _part("ticker").Ticker, _part("cron_times").explain
    _backfill, _wrong = _part("backfill"), _part("schedule_errors")
    Backfilled, backfill_schedule = _backfill.Backfilled, _backfill.backfill
    ScheduleConflictError, ScheduleError = _wrong.ScheduleConflictError, _wrong.ScheduleError
    UnknownScheduleError = _wrong.UnknownScheduleError
    globals().update({name: getattr(_scheduler, name) for name in _scheduler.__all__})
    inspection, maintenance, scripts = _part("inspect"), _part("maintenance"), _part("scripts")
    overrides, pauses, known = _part("overrides"), _part("pauses"), _part("known")
    Operation, Pause = pauses.Operation, pauses.Pause
    read_extended, nearest = _part("engine").read_extended, _part("errors").nearest
    INHERITED = _part("admission").INHERITED
    roster, matching, children = _part("roster"), _part("matching"), _part("children")
    RunningAction, WorkerStanding = roster.RunningAction, roster.WorkerStanding
    AttemptError = _part("attempts").AttemptError
    _letters, _poison = _part("dead_letters"), _part("poison")
    DeadLetter, DeadLetters = _letters.DeadLetter, _letters.DeadLetters
    LetterFilter, OpenedLetter = _letters.LetterFilter, _letters.OpenedLetter
    Note = _letters.Note
    Poisoned, PoisonRule = _poison.Poisoned, _poison.PoisonRule
    usage, reasons = _part("usage"), _part("why")
    crowd, shares = _part("tenants"), _part("shares")
    SortBy, TenantRow, Tenants = crowd.SortBy, crowd.TenantRow, crowd.Tenants
    TierStanding = shares.TierStanding
    Binding, Cause, Why = reasons.Binding, reasons.Cause, reasons.Why
    LimitStatus, TenantLimits = usage.LimitStatus, usage.TenantLimits

    def __getattr__(name: str) -> Any:
        """The simulation is loaded when somebody simulates: no worker needs it."""
        if name == "simulation":
            return _part(name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "DUE_MARK",
    "ID_MARK",
    "INHERITED",
    "AttemptError",
    "Backfilled",
    "Binding",
    "Cause",
    "Claim",
    "Claimed",
    "Clock",
    "DeadLetter",
    "DeadLetters",
    "DryRun",
    "Engine",
    "Enqueued",
    "Extended",
    "Finish",
    "Keys",
    "LetterFilter",
    "LimitStatus",
    "Listed",
    "ManualClock",
    "Misfire",
    "NewAction",
    "Note",
    "Occupied",
    "OpenedLetter",
    "Operation",
    "Outcome",
    "Overlap",
    "Override",
    "Pause",
    "PoisonRule",
    "Poisoned",
    "Policy",
    "PolicyChange",
    "PolicyConflictError",
    "PolicyDiff",
    "PolicyError",
    "PolicyStore",
    "PolicyVersion",
    "Promoted",
    "Published",
    "Reclaimed",
    "Refusal",
    "RefusalReason",
    "Registration",
    "Registry",
    "RegistryError",
    "Replication",
    "Retention",
    "RunningAction",
    "Schedule",
    "ScheduleConflictError",
    "ScheduleError",
    "ScheduleStore",
    "SchedulerError",
    "ScriptError",
    "ServerClock",
    "SortBy",
    "State",
    "SystemClock",
    "TenantLimits",
    "TenantRow",
    "Tenants",
    "Ticker",
    "TierEffect",
    "TierInUseError",
    "TierPolicy",
    "TierStanding",
    "UnconfirmedError",
    "UnknownLimitError",
    "UnknownScheduleError",
    "UnknownTierError",
    "UnknownVersionError",
    "Why",
    "WorkerStanding",
    "action_of_schedule",
    "backfill_schedule",
    "checked_schedule",
    "children",
    "claimed_tier",
    "crowd",
    "explain_cron",
    "inspection",
    "known",
    "maintenance",
    "matching",
    "nearest",
    "overrides",
    "pauses",
    "read_extended",
    "reasons",
    "roster",
    "scripts",
    "shares",
    "simulation",
    "usage",
]
