"""What a policy must be to hold, beyond the form of its keys, and the words for what is wrong with it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from .errors import nearest

MAX_TIMEOUT_S = 86_400.0
"""Longest time an attempt may have. Its lease is extended for as long as it runs: without an end, a hung
handler would keep its slot, and its place in its tenant's concurrency, for ever."""

MAX_TIERS = 50
"""Every claim looks at every tier."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]{0,127}")

_WHY = {
    "weight": "who weighs nothing would never be served",
    "timeout": "its lease is extended for as long as it runs, so an attempt needs an end",
    "guaranteed_share": "it is a part of all starts",
    "max_concurrency": "0 is any number; to stop a tier, pause it",
    "priority": "1 is served first",
}
_BOUNDS = {
    "greater_than_equal": ("at least", "ge"),
    "greater_than": ("more than", "gt"),
    "less_than_equal": ("at most", "le"),
    "less_than": ("less than", "lt"),
}


class Ranked(Protocol):
    """As much of a tier as these checks need."""

    @property
    def priority(self) -> int:
        """1 is served first."""
        ...

    @property
    def guaranteed_share(self) -> float:
        """Part of all starts."""
        ...


def check_names(table: str, names: Iterable[str]) -> None:
    """ValueError for a name that cannot be part of a key."""
    for name in names:
        if not _NAME.fullmatch(name):
            raise ValueError(
                f"{table}.{name!r}: a name is letters, digits, '_', '.' and '-', not beginning with these"
            )


def check_ranks(tiers: Mapping[str, Ranked], domain: str = "") -> None:
    """ValueError when these tiers, as they are in a domain, cannot share the starts."""
    where = f" in domain {domain!r}" if domain else ""
    holder: dict[int, str] = {}
    for name, tier in tiers.items():
        other = holder.setdefault(tier.priority, name)
        if other != name:
            raise ValueError(
                f"tiers.{other} and tiers.{name} have the same priority {tier.priority}{where}; "
                "which of them is served first?"
            )
    total = sum(tier.guaranteed_share for tier in tiers.values())
    if total > 1.0 + 1e-9:
        owed = " + ".join(f"{name} {t.guaranteed_share:g}" for name, t in tiers.items() if t.guaranteed_share)
        raise ValueError(f"guaranteed_share of all tiers adds up to {total:g}{where}; at most 1: {owed}")


def worded(item: Any) -> str:
    """One error of pydantic in the words of a policy's author."""
    key, given, kind = str(item["loc"][-1]) if item["loc"] else "", item.get("input"), item["type"]
    if kind in _BOUNDS:
        words, name = _BOUNDS[kind]
        why = f": {_WHY[key]}" if key in _WHY else ""
        return f"must be {words} {item['ctx'][name]:g}, not {given}{why}"
    if kind in ("enum", "literal_error"):
        known = re.findall(r"'([^']+)'", str(item["ctx"]["expected"]))
        return f"unknown {key} {given!r}{nearest(str(given), known)}; one of {', '.join(known)}"
    return str(item["msg"]).removeprefix("Value error, ")
