"""What a finish says besides its outcome, as ``finish.lua`` reads it."""

from __future__ import annotations

import json
from typing import Any

from .attempts import attempt_line
from .model import Claimed, Finish, Outcome

DOMAIN_SCOPE = "*"


def extra_of(finish: Finish, now_ms: int, worker_id: str) -> str:
    """JSON, or nothing when there is nothing to say."""
    extra: dict[str, Any] = {}
    if finish.reason:
        extra["reason"] = finish.reason
        if finish.outcome in (Outcome.RETRY, Outcome.DEAD):
            extra["attempt"] = attempt_line(finish, now_ms, worker_id)
    if finish.callback_queue:
        extra["callback_queue"] = finish.callback_queue
        extra["callback"] = finish.callback.decode()
    if finish.pressed:
        extra |= {"scope": scope_of(finish.action, finish.pressed), "until_ms": finish.pressed_until_ms}
    return json.dumps(extra) if extra else ""


def scope_of(action: Claimed, pressed: str) -> str:
    """Whose work waits, as ``backpressure`` names it: that of a tenant, a tier, a domain or a named limit."""
    match pressed:
        case "tenant":
            return f"{action.tenant_id}:{action.tier}"
        case "tier":
            return f"*:{action.tier}"
        case "domain":
            return DOMAIN_SCOPE
        case name:
            return f"@{name}"
