"""What limits say about starts: a part of the decision that :mod:`scheduler.fairness` explains."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from .calendar import period_at
from .limits import Limit, allowance, spend, unspend, worthless_at
from .lines import Binding, Said, Usage
from .tiers import CompiledNamed


def binding(limits: Iterable[Limit], states: dict[str, Any], now_ms: int, wanted: int) -> Binding:
    """How many of ``wanted`` starts all of ``limits`` allow."""
    starts, free_at_ms, why = wanted, 0, ""
    for limit in limits:
        period = period_at(limit.period, now_ms) if limit.period else None
        left, frees_ms = allowance(limit, states.get(limit.key), now_ms, period)
        if left == 0 and frees_ms >= free_at_ms:
            free_at_ms, why = frees_ms, limit.name
        starts = min(starts, left)
    return Binding(starts, free_at_ms, why)


def charge(limits: Iterable[Limit], usage: Usage, now_ms: int, starts: int) -> None:
    """Count ``starts`` against all of ``limits``."""
    for limit in limits:
        period = period_at(limit.period, now_ms) if limit.period else None
        state = usage.states[limit.key] = spend(limit, usage.states.get(limit.key), now_ms, starts, period)
        usage.keep_until(worthless_at(limit, state, period))


def give_back(limits: Sequence[Limit], usage: Usage, at_ms: int) -> bool:
    """Count a start at ``at_ms`` no more, it never began; whether ``limits`` remember anything."""
    known = usage.forget_at_ms > 0 and len(limits) > 0
    for limit in limits:
        state = usage.states.pop(limit.key, None)
        left = None if state is None else unspend(limit, state, at_ms)
        if left is not None:
            usage.states[limit.key] = left
    return known


class NamedLimits:
    """Limits that action types share, those of an upstream service; asked when an action has been read."""

    def __init__(self, named: Iterable[CompiledNamed], said: Said) -> None:
        self.usage: dict[str, Usage] = {}
        self.said = said
        self.publish(named)

    def publish(self, named: Iterable[CompiledNamed]) -> None:
        """Another policy; what was used of a limit counts on."""
        self.named = {each.name: each for each in named}
        self.usage = {name: Usage() for name in self.named} | self.usage

    def use(self, action_type: str, now_ms: int) -> Binding | None:
        """Use one of each limit of this type; or none, and say which of those that refuse it frees last."""
        asked = [each for each in self.named.values() if action_type in each.action_types]
        refused = [bound for each in asked if not (bound := self._bound(each, now_ms)).starts]
        if refused:
            return max(reversed(refused), key=lambda bound: bound.free_at_ms)
        for each in asked:
            charge([each.limit], self.usage[each.name], now_ms, 1)
        return None

    def give_back(self, action_type: str, at_ms: int) -> set[str]:
        """Count a start of this type no more; why tenants are held that may start again."""
        return {
            f"limit {each.name}"
            for each in self.named.values()
            if action_type in each.action_types and give_back([each.limit], self.usage[each.name], at_ms)
        }

    def _bound(self, named: CompiledNamed, now_ms: int) -> Binding:
        why = f"limit {named.name}"
        pressed_until = self.said.pressed_until(f"@{named.name}", now_ms)
        if pressed_until:
            return Binding(0, pressed_until, why)
        return binding([named.limit], self.usage[named.name].states, now_ms, 1)._replace(why=why)
