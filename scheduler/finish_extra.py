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
    ids, events = _told(finishes, now_ms)
    args: list[Any] = ["\n".join(events), len(ids), *ids]
    counted_at, said = 0, ""
    last: tuple[Any, ...] = ()
    for finish in finishes:
        action, outcome, response, due_ms, _, callback_queue, _, reason, pressed, _ = finish
        how = (action.token, outcome, due_ms, action.reply_to, action.unique_key)
        extra = extra_of(finish, now_ms, worker_id) if reason or callback_queue or pressed else ""
        if (
            extra or how != last
        ):  # nearly always it is like the one before, which is found before it is written
            last = () if extra else how
            token, _, _, reply_to, unique_key = how
            text = f"{token} {outcome} {due_ms} {reply_to or '-'} {unique_key or '-'} {extra}"
            if text != said:
                said, counted_at = text, len(args) + 1
                args += (text, 0)
        args[counted_at] += 1
        args.append(response or b"")
    return args


def _told(finishes: Sequence[Finish], now_ms: int) -> tuple[list[str], list[str]]:
    """The ids, and what is told of each when it is accepted."""
    ids, events = [], []
    head, claim, claimed, last, of_outcome = f"outcome {now_ms}", (0, 0), "0 0", None, ""
    for action, outcome, _, _, run_time_us, _, _, _, _, _ in finishes:
        action_id, action_type, tenant_id, tier, _, attempt, _, enqueued_ms, claimed_ms, _, _, _, _, _ = (
            action
        )
        if outcome is not last:
            last, of_outcome = outcome, outcome.value
        if claim != (attempt, claimed_ms):
            claim, claimed = (attempt, claimed_ms), f"{attempt} {claimed_ms}"
        queue_ms = claimed_ms - enqueued_ms if claimed_ms > enqueued_ms else 0
        ids.append(action_id)
        events.append(
            f"{head} {action_id} {action_type} {tenant_id}:{tier} "
            f"{of_outcome} {queue_ms} {run_time_us} {claimed}"
        )
    return ids, events
