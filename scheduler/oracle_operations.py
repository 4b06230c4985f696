"""What operators and the policy store do, in plain Python: the other half of :mod:`scheduler.oracle`."""

from __future__ import annotations

from collections.abc import Collection

from .model import Override
from .oracle import Oracle
from .tiers import CompiledPolicy


class Operations:
    """Commands to an oracle."""

    def __init__(self, oracle: Oracle, policy: CompiledPolicy) -> None:
        self.oracle = oracle
        self.policy = policy

    def set_override(self, tenant: str, override: Override | None, *, resumed: bool = False) -> None:
        """An operator gives a tenant its own rules, or takes them away; its holds end.

        ``resumed``: what handlers said for it ends, too.
        """
        if resumed:
            for name in self.oracle.tiers:
                self.oracle.said.backpressure.pop(f"{tenant}:{name}", None)
        self.oracle.said.overrides.pop(tenant, None)
        if override:
            self.oracle.said.overrides[tenant] = override
        for tier, line in self.oracle.held():
            if line.tenant == tenant:
                tier.enter(line)

    def pause(self, what: str) -> None:
        """``domain``, ``tier:<tier>`` or ``type:<action type>``."""
        self.oracle.said.paused.add(what)

    def resume(self, what: str) -> None:
        """What was set aside comes back to the head of its lines."""
        self.oracle.said.paused.discard(what)
        kind, _, name = what.partition(":")
        scope = {"domain": "*", "tier": f"*:{name}", "limit": f"@{name}"}.get(kind, "")
        self.oracle.said.backpressure.pop(scope, None)
        for action in self.oracle.alive.values():
            if action.aside and what == f"type:{action.action_type}":
                self.oracle.give_back(action)
        if kind == "limit":
            self.rehold([f"limit {name}"])

    def publish(self, policy: CompiledPolicy) -> None:
        """Another policy for the same tiers; whom only the one before held is looked at again."""
        gone = _holding(self.policy) - _holding(policy)
        if gone:
            self.rehold({why for why, _ in gone})
        self.oracle.domain_limits = policy.domain_limits
        self.oracle.named.publish(policy.named)
        for tier in policy.tiers:
            self.oracle.tiers[tier.name].policy = tier
        self.policy = policy

    def rehold(self, limits: Collection[str] = ()) -> int:
        """End the holds of these limits, of all without any; the next claim looks at those tenants again."""
        ending = [(tier, line) for tier, line in self.oracle.held() if not limits or line.held_why in limits]
        for tier, line in ending:
            tier.enter(line)
        return len(ending)


def _holding(policy: CompiledPolicy) -> set[tuple[str, object]]:
    """What a policy can hold a tenant for, and the rule behind it."""
    rules: set[tuple[str, object]] = {(f"limit {each.name}", each) for each in policy.named}
    for tier in policy.tiers:
        rules |= {(limit.name, (tier.name, limit)) for limit in tier.limits}
        rules.add((f"concurrency {tier.max_concurrency}", tier.name))
    return rules
