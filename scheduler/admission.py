"""Whether a new action may wait, and in which tier: the rules of ``enqueue`` in plain Python.

``scripts/enqueue.lua`` decides the same in one atomic step; what it needs of the policy it reads from the
domain's ``registry``, field ``*`` (:func:`settings_json`), written by ``publish`` together with the policy.

**The tier of a tenant is what its registration says**, not what a sender claims. A claimed tier that is
better is refused, an equal or lower one is kept, and who claims none gets the registered one. An inherited
claim (an action that a handler sends on, in the tier it was started in) is never refused but cut down to what
is registered: a tenant that was moved meanwhile must not see its running work fail. An unregistered tenant
counts as registered for the default tier; under ``unregistered = "claimed"`` its claims are believed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from .backlog import Backlog
from .calendar import period_at
from .errors import ScriptError
from .limit_rules import compile_limits
from .model import Enqueued, NewAction, Refusal, RefusalReason
from .tiers import Policy

INHERITED = "~"
"""Before a claimed tier: inherited, not chosen."""

_NEVER = 1 << 62


class Registration(NamedTuple):
    """What is known of a tenant: its tier (None: not registered), and whether it takes no new work."""

    tier: str | None
    draining: bool = False

    def wire(self) -> str:
        """As the ``registry`` holds it: ``free``, ``free drain``, ``- drain``."""
        return f"{self.tier or '-'}{' drain' if self.draining else ''}"

    @classmethod
    def read(cls, text: str) -> Registration:
        """The opposite of ``wire``."""
        tier, _, drain = text.partition(" ")
        return cls(None if tier == "-" else tier, drain == "drain")


NOBODY = Registration(None)


class Admission(NamedTuple):
    """What ``enqueue`` goes by in one domain: ``order`` is the tiers, best first. ``moved``: tiers that are
    gone, each with the one that its tenants belong to; who names such a tier means that one."""

    order: tuple[str, ...]
    default: str
    unregistered: str = "claimed"
    moved: Mapping[str, str] = MappingProxyType({})

    def tier_of(self, tenant_id: str, registration: Registration, claimed: str) -> str | Refusal:
        """The tier that an action waits in, or why it may not."""
        inherited, claimed = claimed.startswith(INHERITED), claimed.removeprefix(INHERITED)
        claimed = self.moved.get(claimed, claimed)
        own = self.moved.get(registration.tier or "", registration.tier)
        known = own in self.order
        entitled = own if known and own else self.default
        believed = not known and self.unregistered == "claimed"
        if claimed and claimed not in self.order and not inherited:
            return Refusal(RefusalReason.UNKNOWN_TIER, tenant_id, claimed, known=self.order)
        if registration.draining:
            return Refusal(RefusalReason.DRAINING, tenant_id, claimed or entitled)
        if claimed not in self.order:
            return entitled
        if believed or self.order.index(claimed) >= self.order.index(entitled):
            return claimed
        if inherited:
            return entitled
        return Refusal(
            RefusalReason.TIER, tenant_id, claimed, allowed_tier=entitled, registered=known, known=self.order
        )


def settings_json(policy: Policy, domain: str) -> str:
    """What ``enqueue`` needs of the policy, compact; read by every call."""
    settings: dict[str, Any] = {"order": policy.names(), "default": policy.default_tier}
    if policy.unregistered == "default":
        settings["strict"] = True
    if policy.moves:
        settings["moved"] = policy.moves
    tiers = {name: policy.tier(name, domain) for name in policy.names()}
    backlogs = {name: tier.max_backlog for name, tier in tiers.items() if tier.max_backlog != Backlog()}
    if backlogs:
        settings["backlog"] = {name: [most.actions, most.bytes] for name, most in backlogs.items()}
    refusing = {
        name: compile_limits(tier.limits, policy.time_zone)
        for name, tier in tiers.items()
        if tier.over_limit == "refuse"
    }
    if refusing:
        settings["refuse"] = {name: [limit.wire() for limit in limits] for name, limits in refusing.items()}
        periods = {limit.period for limits in refusing.values() for limit in limits if limit.period}
        if periods:
            settings["periods"] = sorted(periods)
    return json.dumps(settings, separators=(",", ":"))


def admission_of(policy: Policy) -> Admission:
    """The same for the oracle."""
    return Admission(tuple(policy.names()), policy.default_tier, policy.unregistered, policy.moves)


class PeriodsArg:
    """Now, with its calendar periods, as the ``enqueue`` script takes it; worked out when one is over."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = names
        self._text = ""
        self._from_ms = self._till_ms = -1

    def at(self, now_ms: int) -> str:
        """``now_ms`` and the periods that contain it."""
        if not self._from_ms <= now_ms < self._till_ms:
            periods = [(name, period_at(name, now_ms)) for name in self.names]
            self._text = "".join(f"|{name}|{period.start_ms}|{period.end_ms}" for name, period in periods)
            self._from_ms = max((period.start_ms for _, period in periods), default=0)
            self._till_ms = min((period.end_ms for _, period in periods), default=_NEVER)
        return f"{now_ms}{self._text}"


def one_args(action: NewAction, now_ms: int) -> tuple[str, str, str, bytes]:
    """An action as the ``enqueue`` script takes it."""
    action_id, action_type, tenant_id, tier, payload, due_ms, deadline_ms, reply_to, unique_key = action
    claim, from_ms = f"{tenant_id}:{tier}", now_ms if now_ms > due_ms else due_ms
    return (
        f"{claim}\n{due_ms or ''}\n{unique_key}" if due_ms or unique_key else claim,
        action_id,
        f"v1 {action_id} {deadline_ms} {action_type} {from_ms} {reply_to or '-'} {unique_key or '-'}",
        payload,
    )


def enqueue_args(batch: Sequence[NewAction], now_ms: int) -> list[Any]:
    """Any number of them."""
    args: list[Any] = []
    for action in batch:
        args += one_args(action, now_ms)
    return args


def read_enqueued(action: NewAction, said: Any) -> Enqueued:
    """What the script says of one action."""
    if said == 1:
        return Enqueued(action.action_id, True, "", action.tier)
    claimed = action.tier.removeprefix(INHERITED)
    if said == 0:
        return Enqueued(action.action_id, False, action.action_id, claimed)
    if said == -1:
        raise ScriptError(
            "enqueue",
            f"action {action.action_id} has no place: the key of tenant {action.tenant_id!r}, tier "
            f"{claimed!r} is not a stream; find out who wrote it, DEL or RENAME it, enqueue again",
        )
    kind, text = said[:1], said[1:].decode()
    if kind == b"+":
        return Enqueued(action.action_id, True, tier=text)
    if kind == b"=":
        existing_id, tier = text.split(" ")
        return Enqueued(action.action_id, False, existing_id, tier)
    return Enqueued(action.action_id, False, tier=claimed, refusal=_refusal(action.tenant_id, claimed, text))


def _refusal(tenant_id: str, claimed: str, text: str) -> Refusal:
    reason, *words = text.split(" ")
    return _READ[reason](tenant_id, claimed, words)


_READ: Mapping[str, Callable[[str, str, Sequence[str]], Refusal]] = {
    "tier": lambda tenant, claimed, words: Refusal(
        RefusalReason.TIER,
        tenant,
        claimed,
        allowed_tier=words[0],
        registered=words[1] == "1",
        known=tuple(words[2:]),
    ),
    "unknown": lambda tenant, claimed, words: Refusal(
        RefusalReason.UNKNOWN_TIER, tenant, claimed, known=tuple(words)
    ),
    "backlog": lambda tenant, claimed, words: Refusal(
        RefusalReason.BACKLOG, tenant, claimed, limit=words[0], amount=int(words[1]), most=int(words[2])
    ),
    "limit": lambda tenant, claimed, words: Refusal(
        RefusalReason.LIMIT, tenant, claimed, limit=" ".join(words[1:]), retry_after_ms=int(words[0])
    ),
    "deadline": lambda tenant, claimed, words: Refusal(
        RefusalReason.DEADLINE, tenant, claimed, limit=" ".join(words[1:]), retry_after_ms=int(words[0])
    ),
    "drain": lambda tenant, _, words: Refusal(RefusalReason.DRAINING, tenant, words[0]),
}
