"""What can go wrong in the scheduler.

SchedulerError
├── PolicyError        a policy that cannot be used: names file, key and the nearest valid key
├── UnknownTierError   a tier the policy does not have
└── ScriptError        a script refused or failed; carries verb and the server's words
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class SchedulerError(Exception):
    """Base of everything the scheduler raises on its own account."""


class PolicyError(SchedulerError):
    """A policy that cannot be used; the running one stays."""


class UnknownTierError(SchedulerError):
    """A tier the policy does not have."""

    def __init__(self, tier: str, known: Iterable[str]) -> None:
        names = list(known)
        super().__init__(f"unknown tier {tier!r}{nearest(tier, names)}; the policy has {', '.join(names)}")
        self.tier = tier
        self.known = names


class ScriptError(SchedulerError):
    """A script refused or failed on the server."""

    def __init__(self, verb: str, reason: str) -> None:
        super().__init__(f"{verb}: {reason}")
        self.verb = verb


def nearest(word: str, known: Iterable[str]) -> str:
    """``, did you mean 'x'?`` for the closest of ``known``, or nothing."""
    match = get_close_matches(str(word), list(known), n=1, cutoff=0.5)
    return f", did you mean {match[0]!r}?" if match else ""
