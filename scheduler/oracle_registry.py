"""Tenants and their tiers in plain Python: who may have which, who takes no new work, and what a move does.

:class:`Register` is asked by every enqueue of :mod:`scheduler.oracle`; :func:`move` is ``engine.move`` for a
backlog that fits into one step. (A larger one takes several, its tenant paused meanwhile; in the end it is
the same.)
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any

from .admission import NOBODY, Admission, Registration
from .lines import Line, Usage
from .model import NewAction, Refusal, State

if TYPE_CHECKING:
    from .fairness import Tier
    from .oracle import Oracle


class Register:
    """What is registered of each tenant, under a policy's rules of admission."""

    def __init__(self, admission: Admission) -> None:
        self.admission = admission
        self.known: dict[str, Registration] = {}

    def of(self, tenant: str) -> Registration:
        """What is known of a tenant."""
        return self.known.get(tenant, NOBODY)

    def place(self, action: NewAction) -> NewAction | str:
        """The action in the tier that it waits in; or ``!`` and why it may not."""
        tier = self.admission.tier_of(action.tenant_id, self.of(action.tenant_id), action.tier)
        return f"!{tier.reason}" if isinstance(tier, Refusal) else action._replace(tier=tier)

    def register(self, tenant: str, tier: str | None) -> None:
        """Put a tenant on a tier; None: on none."""
        self._set(tenant, self.of(tenant)._replace(tier=tier))

    def drain(self, tenant: str, *, end: bool = False) -> None:
        """Refuse new actions of a tenant, or take them again."""
        self._set(tenant, self.of(tenant)._replace(draining=not end))

    def _set(self, tenant: str, registration: Registration) -> None:
        self.known[tenant] = registration
        if registration == NOBODY:
            del self.known[tenant]


def move(oracle: Oracle, tenant: str, tier: str) -> int:
    """Everything that waits of a tenant goes to a tier, and it is registered for that; how many that were.

    Tiers are emptied one after the other, last the one that new actions go to. What runs stays where it is.
    """
    register = oracle.register
    own = register.of(tenant).tier or register.admission.default
    others = [name for name in register.admission.order if name != tier]
    moved = 0
    for name in sorted(others, key=lambda name: name == own):
        moved += _empty(oracle, oracle.tiers[name], oracle.tiers[tier], tenant)
    register.register(tenant, tier)
    return moved


def _empty(oracle: Oracle, old: Tier, new: Tier, tenant: str) -> int:
    source, target = old.line(tenant), new.line(tenant)
    waits = [a for a in oracle.alive.values() if (a.tenant, a.tier) == (tenant, old.policy.name)]
    waits = [a for a in waits if a.state is not State.RUNNING]
    first_attempts, in_line = source.new, source.waiting
    attempted = [a for a in waits if a.entry and a not in first_attempts]
    back = source.returned
    source.returned, source.new = [], []
    for action in waits:
        action.tier = new.policy.name
    if attempted:  # comes behind what waits there, be that for its first attempt
        for action in target.new:
            target.give_back(action)
        target.new = []
    for action in sorted(attempted, key=attrgetter("entry")):
        action.entry = oracle.next_entry()
        if action in back:
            oracle.give_back(action)
    for action in first_attempts:
        oracle.append(action)
    if in_line:
        source.held_until, source.held_why = None, ""
        if source.ready:
            old.leave(source)
    if source.usage.forget_at_ms:
        _carry(source, target)
    return len(waits)


def _carry(source: Line, target: Line) -> None:
    """What was used of limits counts on: moving back and forth earns nothing."""
    used, known = source.usage, target.usage
    for key, state in used.states.items():
        known.states[key] = _added_up(key, state, known.states[key]) if key in known.states else state
    known.estimates = known.estimates or used.estimates
    known.keep_until(used.forget_at_ms)
    source.usage = Usage()


def _added_up(key: str, a: Any, b: Any) -> Any:
    """Two states of limits of one kind and window; ``key`` begins with the kind, see ``Limit.key``."""
    if key.startswith("m"):  # starts of a moving window
        return sorted([*a, *b])
    later, earlier = (a, b) if a[0] >= b[0] else (b, a)
    if later[0] == earlier[0]:
        return (later[0], *(x + y for x, y in zip(later[1:], earlier[1:], strict=True)))
    if key.startswith("f"):  # windows that began at different times: all of it in the later one
        return (later[0], later[1] + earlier[1])
    if key.startswith("s") and later[0] == earlier[0] + 1:  # the window before
        return (later[0], later[1] + earlier[2], later[2])
    return later
