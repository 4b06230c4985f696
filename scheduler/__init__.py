"""Which action runs next, and who owns it: the ground floor of nooble-tasks.

Imports nothing of ours; payloads are opaque bytes. Start reading at :mod:`scheduler.engine`, then
``scripts/claim.lua``; :mod:`scheduler.fairness` explains the decision in plain Python.
"""

from .admission import Registration
from .clock import Clock, ManualClock, ServerClock, SystemClock
from .dry_run import DryRun, TierEffect
from .engine import Engine
from .errors import (
    PolicyConflictError,
    PolicyError,
    RegistryError,
    SchedulerError,
    ScriptError,
    TierInUseError,
    UnknownLimitError,
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
    Override,
    Promoted,
    Reclaimed,
    Refusal,
    RefusalReason,
    Retention,
    State,
)
from .occupied import Occupied
from .policy_diff import PolicyChange, PolicyDiff
from .policy_store import PolicyStore
from .policy_versions import PolicyVersion, Published
from .registry import Registry
from .replication import Replication, UnconfirmedError
from .tiers import Policy, TierPolicy

__all__ = [
    "Claim",
    "Claimed",
    "Clock",
    "DryRun",
    "Engine",
    "Enqueued",
    "Extended",
    "Finish",
    "Keys",
    "ManualClock",
    "NewAction",
    "Occupied",
    "Outcome",
    "Override",
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
    "SchedulerError",
    "ScriptError",
    "ServerClock",
    "State",
    "SystemClock",
    "TierEffect",
    "TierInUseError",
    "TierPolicy",
    "UnconfirmedError",
    "UnknownLimitError",
    "UnknownTierError",
    "UnknownVersionError",
]
