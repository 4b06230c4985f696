"""Why an action was not put in line. Part of the tree in `errors.py`.

The engine says it as a value, a `Refusal`; `error_of` makes the error that a sender meets.
"""

# ruff: noqa: N818

from __future__ import annotations

from ._engine import Enqueued, Refusal, RefusalReason
from .errors import ActionError, InvalidAction, NoobleError, RateLimited, UnknownTier


class TierNotAllowed(InvalidAction):
    """The action claims a better tier than its tenant has."""

    code = "tier_not_allowed"


class TenantDraining(ActionError):
    """Operators let the tenant's work run out: it takes no new actions until it is resumed."""

    code = "tenant_draining"
    retryable = True


class BacklogFull(ActionError):
    """As much of the tenant waits as its tier allows."""

    code = "backlog_full"
    retryable = True


def error_of(enqueued: Enqueued) -> NoobleError | None:
    """The error for an action that was refused, None for any other."""
    refusal = enqueued.refusal
    if refusal is None:
        return None
    match refusal.reason:
        case RefusalReason.TIER:
            return _tier_not_allowed(refusal)
        case RefusalReason.UNKNOWN_TIER:
            return UnknownTier(refusal.tier, refusal.known)
        case RefusalReason.DRAINING:
            return TenantDraining(
                f"tenant {refusal.tenant_id!r} is being drained: what waits is run, new actions are refused "
                "until an operator resumes it",
                action_id=enqueued.action_id,
                details={"tenant_id": refusal.tenant_id},
            )
        case RefusalReason.BACKLOG:
            return BacklogFull(
                f"{refusal.amount:,} {refusal.limit} of tenant {refusal.tenant_id!r} wait, and "
                f"max_backlog of its tier allows {refusal.most:,}; try again when some have run",
                action_id=enqueued.action_id,
                details={"tenant_id": refusal.tenant_id, "limit": refusal.limit} | _figures(refusal),
            )
        case RefusalReason.LIMIT | RefusalReason.DEADLINE:
            return _rate_limited(enqueued.action_id, refusal)


def _figures(refusal: Refusal) -> dict[str, int]:
    return {"amount": refusal.amount, "most": refusal.most}


def _rate_limited(action_id: str, refusal: Refusal) -> RateLimited:
    seconds = refusal.retry_after_ms / 1000
    if refusal.reason is RefusalReason.DEADLINE:
        why = f"tenant {refusal.tenant_id!r} is held by {refusal.limit}, longer than the action's deadline"
    else:
        why = f"tenant {refusal.tenant_id!r} has used up its limit {refusal.limit}"
    return RateLimited(
        f"{why}; nothing was enqueued, try again in {seconds:.1f} s",
        retry_after_s=seconds,
        action_id=action_id,
        details={"tenant_id": refusal.tenant_id, "limit": refusal.limit, "reason": str(refusal.reason)},
    )


def _tier_not_allowed(refusal: Refusal) -> TierNotAllowed:
    tenant, claimed, allowed = refusal.tenant_id, refusal.tier, refusal.allowed_tier
    if refusal.registered:
        has = f"is registered for tier {allowed!r}"
        other = f"register it for {claimed!r}"
    else:
        has = f"is not registered, so it has the default tier {allowed!r}"
        other = f"register it for {claimed!r} (`nooble tenant register {tenant} --tier {claimed}`)"
    return TierNotAllowed(
        f"tenant {tenant!r} {has} and cannot claim {claimed!r}; leave the tier out, or {other}",
        details={
            "tenant_id": tenant,
            "tier": claimed,
            "allowed_tier": allowed,
            "registered": refusal.registered,
        },
    )
