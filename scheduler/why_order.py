"""Who comes before an action: tenants of its tier, better tiers; how many starts that makes. No I/O."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from .fairness import ONE_START
from .spoken import counted
from .why_facts import Facts, TierLine
from .why_model import Binding, Cause


def ordered_before(facts: Facts) -> Iterator[Binding]:
    """What the order puts before it."""
    if facts.due_ms:
        return
    if facts.ahead:
        most = "" if facts.ahead_exact else "at least "
        text = f"{most}{counted(facts.ahead, 'action')} of {facts.tenant_id} before it in line"
        yield Binding(Cause.OWN_LINE, text)
    if facts.tier_at is None or facts.tag is None:
        return
    tier = facts.tiers[facts.tier_at]
    ahead = [name for name, starts in _others(facts, tier) if starts]
    if ahead:
        many = max(len(ahead), _how_many_before(facts, tier)) if _is_sample(tier) else len(ahead)
        names = ", ".join(ahead[:3]) + (" …" if many > 3 else "")
        yield Binding(Cause.TENANTS_AHEAD, f"{counted(many, 'other tenant')} of {facts.tier} first: {names}")
    better = [each for each in facts.tiers[: facts.tier_at] if each.tenants]
    if better:
        told = ", ".join(f"{each.name} ({counted(each.tenants, 'tenant')})" for each in better)
        yield Binding(Cause.TIERS_AHEAD, f"better tiers with work: {told}")


def starts_ahead(facts: Facts) -> int | None:
    """How many starts come before its own, limits of others aside; None where it is not in line.

    Exact while tenants are charged by starts, nobody's limit binds and nothing is enqueued meanwhile; slots
    given away several at a time change it by a quantum per tenant. In a tier with more tenants than were
    looked at, the others count like those that were.
    """
    if facts.tag is None or facts.tier_at is None or facts.ahead is None:
        return None
    tier = facts.tiers[facts.tier_at]
    others = [starts for _, starts in _others(facts, tier)]
    in_tier = facts.ahead + _scaled(others, _how_many_before(facts, tier) if _is_sample(tier) else 0)
    better = sum(_in_line(each) for each in facts.tiers[: facts.tier_at])
    if tier.share:
        better = min(better, math.floor((in_tier + 1) / tier.share) - in_tier - 1)
    worse = 0
    for each in facts.tiers[facts.tier_at + 1 :]:
        if each.share:
            worse += min(_in_line(each), math.floor((in_tier + better) * each.share))
    return in_tier + better + worse


def _others(facts: Facts, tier: TierLine) -> Iterator[tuple[str, int]]:
    """How many starts each other tenant looked at has before it, were all charged one unit."""
    charge = math.floor(ONE_START / tier.weight)
    own = (facts.tag or 0) + (facts.ahead or 0) * charge
    for tenant, tag, waiting in tier.first:
        if tenant == facts.tenant_id or tag > own:
            continue
        whole, rest = divmod(own - tag, charge)
        yield tenant, min(int(whole) + (1 if rest or tenant < facts.tenant_id else 0), waiting)


def _is_sample(tier: TierLine) -> bool:
    return tier.tenants > len(tier.first)


def _how_many_before(facts: Facts, tier: TierLine) -> int:
    """Tenants of its tier with a start before it: those with a smaller tag, and when others of its own line
    come first, probably all."""
    return tier.tenants - 1 if facts.ahead else facts.rank


def _scaled(looked_at: Sequence[int], all_: int) -> int:
    return math.ceil(sum(looked_at) * max(all_ / len(looked_at), 1.0)) if looked_at else 0


def _in_line(tier: TierLine) -> int:
    return _scaled([waiting for _, _, waiting in tier.first], tier.tenants)
