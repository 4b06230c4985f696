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
    least: tuple[int, int, str] | None = None
    for limit in tier.limits_of(line):
        period = period_at(limit.period, now_ms) if limit.period else None
        stands = standing(limit, line.usage.states.get(limit.key), now_ms, period)
        more_at_ms = stands.more_at_ms or (period.end_ms if period else now_ms + limit.window_ms)
        left = stands.left - line.waiting
        if least is None or left < least[0] or (left <= 0 >= least[0] and more_at_ms > least[1]):
            least = left, more_at_ms, limit.name
    if least is None or least[0] > 0 or due_ms >= least[1]:
        return ""
    return f"limit {max(least[1] - now_ms, 1)} {least[2]}"
