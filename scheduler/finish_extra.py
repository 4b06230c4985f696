"""What a finish says, as ``finish.lua`` reads it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from .attempts import attempt_line
from .model import Claimed, Finish, Outcome

DOMAIN_SCOPE = "*"


def extra_of(finish: Finish, now_ms: int, worker_id: str) -> str:
    """JSON, or nothing when there is nothing to say."""
    if not (finish.reason or finish.callback_queue or finish.pressed):
        return ""
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
    return json.dumps(extra)


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


def finish_args(finishes: Sequence[Finish], now_ms: int, worker_id: str) -> list[Any]:
    """What the script is told of a batch: few arguments, each costs the server more than its bytes."""
    args: list[Any] = ["\n".join([finish_line(finish, now_ms) for finish in finishes]), len(finishes)]
    args += [finish.action.action_id for finish in finishes]
    last, counted_at = None, 0
    for finish in finishes:
        how = _how(finish, now_ms, worker_id)
        if how == last:
            args[counted_at] += 1
        else:
            last, counted_at = how, len(args) + 1
            args += (how, 1)
        args.append(finish.response or b"")
    return args


def _how(finish: Finish, now_ms: int, worker_id: str) -> str:
    """What is alike for most of a batch."""
    action = finish.action
    return (
        f"{action.token} {finish.outcome} {finish.due_ms} {action.reply_to or '-'} "
        f"{action.unique_key or '-'} {extra_of(finish, now_ms, worker_id)}"
    )


def finish_line(finish: Finish, now_ms: int) -> str:
    """What is told of it when it is accepted."""
    action = finish.action
    queue_ms = max(action.claimed_ms - action.enqueued_ms, 0)
    return (
        f"outcome {now_ms} {action.action_id} {action.action_type} {action.tenant_id}:{action.tier} "
        f"{finish.outcome} {queue_ms} {finish.run_time_us} {action.attempt} {action.claimed_ms}"
    )
