"""Which tier each tenant of a trace is on, by rule."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import NamedTuple

from .errors import OptionError

_FORMS = (
    "column:NAME (a column says it), fixed:TIER (all the same), or "
    "share:enterprise=1%,professional=4%,free=rest (the busiest one per cent is enterprise, …)"
)


class TierRule(NamedTuple):
    """``column``: the tier is in that column. Else the busiest tenants go by ``shares``, busiest first, and
    all others are on ``rest``."""

    column: str = ""
    shares: tuple[tuple[str, float], ...] = ()
    rest: str = ""

    def tiers_of(self, actions: Mapping[str, int]) -> dict[str, str]:
        """The tier of each tenant; ``actions``: how many each has."""
        busiest = sorted(actions, key=lambda tenant: (-actions[tenant], tenant))
        tiers = dict.fromkeys(busiest, self.rest)
        at, upto = 0, 0.0
        for tier, share in self.shares:
            upto += share
            last = math.ceil(upto * len(busiest) - 1e-9)
            tiers.update(dict.fromkeys(busiest[at:last], tier))
            at = max(at, last)
        return tiers


def parse_tier_rule(text: str) -> TierRule:
    """Read a rule; raises :class:`OptionError`."""
    kind, colon, rest = text.partition(":")
    if not colon or not rest or kind not in ("column", "fixed", "share"):
        raise OptionError(f"{text!r} is no tier rule; write {_FORMS}")
    if kind == "column":
        return TierRule(column=rest)
    if kind == "fixed":
        return TierRule(rest=rest)
    shares, others = [], ""
    for part in rest.split(","):
        tier, _, share = (word.strip() for word in part.partition("="))
        number = re.fullmatch(r"(\d+(?:\.\d+)?)(%?)", share)
        if share == "rest" and tier and not others:
            others = tier
        elif number and tier:
            shares.append((tier, float(number[1]) / (100 if number[2] else 1)))
        else:
            raise OptionError(f"{part!r} in the tier rule is not TIER=5% or TIER=rest")
    total = sum(share for _, share in shares)
    if total > 1 + 1e-9:
        raise OptionError(f"the shares of the tier rule add up to {total:.0%}")
    if not others and total < 1 - 1e-9:
        raise OptionError("the tier rule leaves tenants without a tier; end it with ,free=rest")
    return TierRule(shares=tuple(shares), rest=others)
