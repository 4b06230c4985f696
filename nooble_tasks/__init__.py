"""nooble-tasks: a task queue and action bus on Redis that knows tenants and tiers.

    from nooble_tasks import BaseService, enqueue_action, handles

Everything public is here; modules with a leading underscore are not. Start reading at `client.py`
(how an action is sent) and `worker.py` (how it is run); docs/path.md follows one action through both.
"""

from __future__ import annotations

from ._engine import (
    AttemptError,
    Backfilled,
    Binding,
    Cause,
    DeadLetter,
    DryRun,
    LimitStatus,
    ManualClock,
    Misfire,
    Occupied,
    OpenedLetter,
    Operation,
    Outcome,
    Overlap,
    Override,
    Pause,
    Policy,
    PolicyChange,
    PolicyConflictError,
    PolicyDiff,
    PolicyError,
    PolicyStore,
    PolicyVersion,
    Published,
    Registration,
    Registry,
    RegistryError,
    RunningAction,
    Schedule,
    ScheduleConflictError,
    ScheduleError,
    SchedulerError,
    SortBy,
    State,
    TenantLimits,
    TenantRow,
    Tenants,
    TierEffect,
    TierInUseError,
    TierStanding,
    UnknownScheduleError,
    UnknownVersionError,
    Why,
    WorkerStanding,
)
from .actions import DomainAction, DomainActionResponse
from .bus import Bus
from .cancel_token import CancelToken, current_cancel_token
from .cancellations import Cancellations, CancelReport
from .client import BaseRedisClient
from .context import ExecutionContext, current_context, use_context
from .cron import cron
from .dead_letters import DeadLetters, LetterQuery, LetterReport
from .default_client import close_default_client, enqueue_action, get_default_client
from .delivery_errors import (
    HandlerProcessDied,
    NotReplicated,
    ServerRefused,
    UnknownLetter,
    WorkerDied,
    WorkerStopping,
)
from .error_detail import ErrorDetail
from .error_handling import setup_error_handling
from .error_mapping import detail_from_exception, error_from_detail
from .errors import (
    ActionCancelled,
    ActionError,
    ActionExpired,
    ActionFailed,
    ActionTimeout,
    ConfigurationError,
    HandlerSignal,
    InvalidAction,
    InvalidId,
    InvalidResponse,
    InvalidTime,
    LeaseLost,
    MissingTenant,
    NoobleError,
    PayloadNotSerializable,
    PayloadTooDeep,
    PayloadTooLarge,
    QueueUnavailable,
    RateLimited,
    StateConflict,
    StateError,
    StateModelMismatch,
    UnknownAction,
    UnknownDomain,
    UnknownTier,
)
from .handle import ActionHandle
from .health import Health, HealthServer, Readiness
from .ids import ServiceRegistry, check_action_id, check_domain, check_id, check_tenant_id, check_tier, new_id
from .inspector import Inspector
from .logs import get_logger, init_logging
from .lookup_errors import ActionNotFound, UnknownActionType, UnknownTenant, UnknownWorker
from .middleware import ClientMiddleware, WorkerMiddleware
from .operating import Operator, TenantStanding
from .queue_manager import DomainQueueManager, QueueManager
from .rate_limit_headers import rate_limit_headers
from .redis_manager import RedisManager, get_redis_client
from .refusals import BacklogFull, TenantDraining, TierNotAllowed
from .retry import NO_RETRY, RetryPolicy
from .retry_budget import RetryBudget
from .schedules import ScheduleInfo, Schedules
from .service import ActionProcessor, BaseService, handles, provides
from .settings import CommonAppSettings, Settings
from .signals import Backpressure, Reject, Retry, Snooze
from .state import RedisStateManager
from .version import VERSION
from .worker import BaseWorker
from .workers import Workers

__version__ = VERSION

__all__ = [
    "NO_RETRY",
    "ActionCancelled",
    "ActionError",
    "ActionExpired",
    "ActionFailed",
    "ActionHandle",
    "ActionNotFound",
    "ActionProcessor",
    "ActionTimeout",
    "AttemptError",
    "Backfilled",
    "BacklogFull",
    "Backpressure",
    "BaseRedisClient",
    "BaseService",
    "BaseWorker",
    "Binding",
    "Bus",
    "CancelReport",
    "CancelToken",
    "Cancellations",
    "Cause",
    "ClientMiddleware",
    "CommonAppSettings",
    "ConfigurationError",
    "DeadLetter",
    "DeadLetters",
    "DomainAction",
    "DomainActionResponse",
    "DomainQueueManager",
    "DryRun",
    "ErrorDetail",
    "ExecutionContext",
    "HandlerProcessDied",
    "HandlerSignal",
    "Health",
    "HealthServer",
    "Inspector",
    "InvalidAction",
    "InvalidId",
    "InvalidResponse",
    "InvalidTime",
    "LeaseLost",
    "LetterQuery",
    "LetterReport",
    "LimitStatus",
    "ManualClock",
    "Misfire",
    "MissingTenant",
    "NoobleError",
    "NotReplicated",
    "Occupied",
    "OpenedLetter",
    "Operation",
    "Operator",
    "Outcome",
    "Overlap",
    "Override",
    "Pause",
    "PayloadNotSerializable",
    "PayloadTooDeep",
    "PayloadTooLarge",
    "Policy",
    "PolicyChange",
    "PolicyConflictError",
    "PolicyDiff",
    "PolicyError",
    "PolicyStore",
    "PolicyVersion",
    "Published",
    "QueueManager",
    "QueueUnavailable",
    "RateLimited",
    "Readiness",
    "RedisManager",
    "RedisStateManager",
    "Registration",
    "Registry",
    "RegistryError",
    "Reject",
    "Retry",
    "RetryBudget",
    "RetryPolicy",
    "RunningAction",
    "Schedule",
    "ScheduleConflictError",
    "ScheduleError",
    "ScheduleInfo",
    "SchedulerError",
    "Schedules",
    "ServerRefused",
    "ServiceRegistry",
    "Settings",
    "Snooze",
    "SortBy",
    "State",
    "StateConflict",
    "StateError",
    "StateModelMismatch",
    "TenantDraining",
    "TenantLimits",
    "TenantRow",
    "TenantStanding",
    "Tenants",
    "TierEffect",
    "TierInUseError",
    "TierNotAllowed",
    "TierStanding",
    "UnknownAction",
    "UnknownActionType",
    "UnknownDomain",
    "UnknownLetter",
    "UnknownScheduleError",
    "UnknownTenant",
    "UnknownTier",
    "UnknownVersionError",
    "UnknownWorker",
    "Why",
    "WorkerDied",
    "WorkerMiddleware",
    "WorkerStanding",
    "WorkerStopping",
    "Workers",
    "__version__",
    "check_action_id",
    "check_domain",
    "check_id",
    "check_tenant_id",
    "check_tier",
    "close_default_client",
    "cron",
    "current_cancel_token",
    "current_context",
    "detail_from_exception",
    "enqueue_action",
    "error_from_detail",
    "get_default_client",
    "get_logger",
    "get_redis_client",
    "handles",
    "init_logging",
    "new_id",
    "provides",
    "rate_limit_headers",
    "setup_error_handling",
    "use_context",
]
