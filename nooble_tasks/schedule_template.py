"""What a schedule is made of: when it is due, and its action's JSON with marks for each id and due time."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from ._engine import DUE_MARK, ID_MARK, Misfire, Overlap, Schedule, checked_schedule
from .actions import DomainAction
from .errors import InvalidAction, InvalidTime
from .ids import check_tier
from .payload import PayloadLimits
from .times import delay_seconds


def scheduled_payload(
    schedule_id: str,
    action_type: str,
    tenant_id: str,
    data: Any,
    *,
    tier: str | None,
    origin_service: str,
    limits: PayloadLimits,
) -> bytes:
    """The bytes; raises InvalidAction for what cannot be sent.

    The handler sees in `action.metadata` which schedule it was (`schedule_id`) and for which due time
    (`scheduled_for`, like 2030-01-31T06:00:00+00:00).
    """
    mark, due = ID_MARK.decode(), DUE_MARK.decode()
    action = DomainAction(
        action_id=mark,
        trace_id=mark,
        action_type=action_type,
        tenant_id=tenant_id,
        tenant_tier=tier,
        origin_service=origin_service,
        data=data,
        metadata={"schedule_id": schedule_id, "scheduled_for": due},
    )
    fields = json.loads(action.to_json(limits))
    fields["created_at"] = due
    payload = json.dumps(fields, separators=(",", ":"), ensure_ascii=False).encode()
    if (payload.count(ID_MARK), payload.count(DUE_MARK)) != (2, 2):
        raise InvalidAction(f"the data of a schedule cannot contain {mark!r} or {due!r}")
    return payload


def timing(
    expression: str | None,
    every: float | timedelta | None,
    time_zone: str,
    tier: str | None,
    misfire: str,
    grace: float | timedelta,
    overlap: str,
) -> Schedule:
    """When a schedule is due, checked; its id, action and tenant are still to be filled in."""
    if every is not None and not delay_seconds(every, "every"):
        raise InvalidTime("every must be more than zero seconds: it is the time between two due times")
    return checked_schedule(
        Schedule(
            "",
            "",
            "",
            tier=check_tier(tier) if tier is not None else "",
            expression=expression or "",
            every_ms=int(delay_seconds(every, "every") * 1000) if every is not None else 0,
            time_zone=time_zone,
            misfire=Misfire(misfire) if misfire in tuple(Misfire) else misfire,  # type: ignore[arg-type]
            grace_ms=int(delay_seconds(grace, "grace") * 1000),
            overlap=Overlap(overlap) if overlap in tuple(Overlap) else overlap,  # type: ignore[arg-type]
        )
    )
