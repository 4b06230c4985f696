"""Is there room for one more action of a tenant? In plain Python; the script's part is ``lib/room.lua``.

In this order: its **backlog** (all of it that waits: ready, held, set aside, scheduled; not what runs), its
**deadline** (its tenant is held until then or later: it can only expire), and, where its tier says
``over_limit = "refuse"``, its **limits** (what they let start is taken by what waits already, and they give
no more before it is due).
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from .calendar import period_at
from .fairness import Tier
from .limits import standing
from .lines import Action, Line
from .model import NewAction, State


def no_room(tier: Tier, alive: Iterable[Action], action: NewAction, now_ms: int) -> str:
    """Empty when there is room, else why there is none, in the words of the script."""
    line, policy = tier.line(action.tenant_id), tier.policy
    if policy.max_backlog:
        waits = [
            each
            for each in alive
            if (each.tenant, each.tier) == (action.tenant_id, action.tier) and each.state is not State.RUNNING
        ]
        if len(waits) >= policy.max_backlog:
            return f"backlog {len(waits)} {policy.max_backlog}"
    held_until = line.held_until
    if action.deadline_ms and held_until is not None and held_until != math.inf:
        until_ms = math.ceil(held_until)
        if until_ms > now_ms and action.deadline_ms <= until_ms:
            return f"deadline {until_ms - now_ms} {line.held_why}"
    return _over_limit(tier, line, action.due_ms, now_ms) if policy.refuses else ""


def _over_limit(tier: Tier, line: Line, due_ms: int, now_ms: int) -> str:
    closed: list[tuple[int, str]] = []
    for limit in tier.limits_of(line):
        period = period_at(limit.period, now_ms) if limit.period else None
        stands = standing(limit, line.usage.states.get(limit.key), now_ms, period)
        more_at_ms = stands.more_at_ms or (period.end_ms if period else now_ms + limit.window_ms)
        if stands.left <= line.waiting:
            closed.append((more_at_ms, limit.name))
    # Of those that are used up the one that gives more last: before, nothing more can start.
    more_at_ms, name = max(closed, key=lambda each: each[0], default=(0, ""))
    if due_ms >= more_at_ms:
        return ""
    return f"limit {max(more_at_ms - now_ms, 1)} {name}"
