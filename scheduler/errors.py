"""What can go wrong in the scheduler.

SchedulerError
├── PolicyError              a policy that cannot be used: names file, key and the nearest valid key
│   ├── PolicyConflictError  somebody else published meanwhile
│   ├── TierInUseError       a policy without a tier that still has actions
│   └── UnknownVersionError  a version the policy store does not have
├── RegistryError            a command about tenants that cannot be: no such domain, no id, nobody's name
├── UnknownTierError         a tier the policy does not have
├── UnknownLimitError        a named limit the policy does not have
├── UnconfirmedError   in line, but on too few replicas (in replication.py)
└── ScriptError              a script refused or failed; carries verb and the server's words
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class SchedulerError(Exception):
    """Base of everything the scheduler raises on its own account."""


class PolicyError(SchedulerError):
    """A policy that cannot be used; the running one stays."""


class PolicyConflictError(PolicyError):
    """Somebody else published meanwhile; nothing was written. ``version`` is the one in force."""

    def __init__(self, expected: int, version: int, what: str) -> None:
        super().__init__(
            f"the policy in force is {what}, not the version {expected} that this one was meant to replace; "
            "look at what it changed, then publish again"
        )
        self.expected = expected
        self.version = version


class TierInUseError(PolicyError):
    """A policy lacks tiers that still have actions or registered tenants; the running policy stays."""

    def __init__(self, occupied: Iterable[object]) -> None:
        self.occupied = list(occupied)
        super().__init__(
            "a tier can only go when it is empty: say where its tenants go (--move old=new) or wait\n"
            + "\n".join(str(each) for each in self.occupied)
        )


class UnknownVersionError(PolicyError):
    """A version the policy store does not have (any more)."""

    def __init__(self, version: int, known: Iterable[int]) -> None:
        numbers = sorted(known)
        has = "nothing was published yet"
        if numbers:
            close = min(numbers, key=lambda number: abs(number - version))
            has = f"did you mean {close}? It has {numbers[0]} to {numbers[-1]}"
        super().__init__(f"the policy store has no version {version}; {has}")
        self.version = version


class RegistryError(SchedulerError):
    """A command about tenants that cannot be carried out; nothing was written."""


class UnknownTierError(SchedulerError):
    """A tier the policy does not have."""

    def __init__(self, tier: str, known: Iterable[str]) -> None:
        names = list(known)
        super().__init__(f"unknown tier {tier!r}{nearest(tier, names)}; the policy has {', '.join(names)}")
        self.tier = tier
        self.known = names


class UnknownLimitError(SchedulerError):
    """A named limit the policy does not have."""


class ScriptError(SchedulerError):
    """A script refused or failed on the server."""

    def __init__(self, verb: str, reason: str) -> None:
        super().__init__(f"{verb}: {reason}")
        self.verb = verb


def nearest(word: str, known: Iterable[str]) -> str:
    """``, did you mean 'x'?`` for the closest of ``known``, or nothing."""
    match = get_close_matches(str(word), list(known), n=1, cutoff=0.5)
    return f", did you mean {match[0]!r}?" if match else ""
