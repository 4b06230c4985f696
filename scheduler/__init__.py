"""Which action runs next, and who owns it: the ground floor of nooble-tasks.

Imports nothing of ours; payloads are opaque bytes. Start reading at :mod:`scheduler.engine`, then
``scripts/claim.lua``; :mod:`scheduler.fairness` explains the decision in plain Python.
"""

from .clock import Clock, ManualClock, ServerClock, SystemClock
from .engine import Engine
from .errors import (
    PolicyConflictError,
    PolicyError,
    SchedulerError,
    ScriptError,
    UnknownTierError,
    UnknownVersionError,
)
from .keys import Keys
from .model import (
    Claim,
    Claimed,
    Enqueued,
    Extended,
    Finish,
    NewAction,
    Outcome,
    Promoted,
    Reclaimed,
    Retention,
    State,
)
from .policy_store import PolicyStore, PolicyVersion, Published
from .tiers import Policy, TierPolicy

__all__ = [
    "Claim",
    "Claimed",
    "Clock",
    "Engine",
    "Enqueued",
    "Extended",
    "Finish",
    "Keys",
    "ManualClock",
    "NewAction",
    "Outcome",
    "Policy",
    "PolicyConflictError",
    "PolicyError",
    "PolicyStore",
    "PolicyVersion",
    "Promoted",
    "Published",
    "Reclaimed",
    "Retention",
    "SchedulerError",
    "ScriptError",
    "ServerClock",
    "State",
    "SystemClock",
    "TierPolicy",
    "UnknownTierError",
    "UnknownVersionError",
]
