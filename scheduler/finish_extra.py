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
    """What the script is told of a batch: few arguments, each costs the server more than its bytes.

    What is alike for most of a batch is found to be so before it is written.
    """
    ids, events, rest = [], [], list[Any]()
    head, of_outcome, of_claim, said, counted_at = f"outcome {now_ms}", "", "", "", 0
    last_outcome, last_claim, last_how = None, (0, 0), tuple[Any, ...]()
    for finish in finishes:
        action, outcome, response, due_ms, run_time_us, callback_queue, _, reason, pressed, _ = finish
        (
            action_id,
            action_type,
            tenant_id,
            tier,
            _,
            attempt,
            token,
            enqueued_ms,
            claimed_ms,
            _,
            reply_to,
            unique_key,
            _,
            _,
        ) = action
        ids.append(action_id)
        if outcome is not last_outcome:
            last_outcome, of_outcome = outcome, outcome.value
        if last_claim != (attempt, claimed_ms):
            last_claim, of_claim = (attempt, claimed_ms), f"{attempt} {claimed_ms}"
        queue_ms = claimed_ms - enqueued_ms if claimed_ms > enqueued_ms else 0
        events.append(
            f"{head} {action_id} {action_type} {tenant_id}:{tier} "
            f"{of_outcome} {queue_ms} {run_time_us} {of_claim}"
        )
        how = (token, outcome, due_ms, reply_to, unique_key)
        extra = extra_of(finish, now_ms, worker_id) if reason or callback_queue or pressed else ""
        if extra or how != last_how:
            last_how = () if extra else how
            text = f"{token} {of_outcome} {due_ms} {reply_to or '-'} {unique_key or '-'} {extra}"
            if text != said:
                said, counted_at = text, len(rest) + 1
                rest += (text, 0)
        rest[counted_at] += 1
        rest.append(response or b"")
    return ["\n".join(events), len(ids), *ids, *rest]
