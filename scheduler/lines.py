"""What :mod:`scheduler.fairness` decides about: actions, the lines they wait in, what was said of them."""

from __future__ import annotations

from bisect import insort
from collections import Counter
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, NamedTuple

from .model import Override, State


class Binding(NamedTuple):
    """What limits say: how many may start; for none, when that ends and which one binds last."""

    starts: int
    free_at_ms: float = 0
    why: str = ""


@dataclass(eq=False)
class Action:
    """An action as the decision sees it. ``entry`` is its place in its stream, ``attempt`` what was spent.

    ``charge``, ``weight`` and ``started_ms`` are of its last start; the weight is 0 in a tier fair by count,
    the time is 0 where it was handed over past its deadline. ``aside``: it left its line because its type
    is paused.
    """

    action_id: str
    tenant: str
    tier: str
    action_type: str = ""
    due_ms: int = 0
    deadline_ms: int = 0
    unique_key: str = ""
    entry: int = 0
    attempt: int = 0
    state: State = State.READY
    worker: str = ""
    charge: int = 0
    weight: float = 0.0
    started_ms: int = 0
    aside: bool = False
    deaths: int = 0

    def expired(self, now_ms: int) -> bool:
        """Has its deadline passed? Then it is answered, not started."""
        return 0 < self.deadline_ms <= now_ms


@dataclass(eq=False)
class Usage:
    """What is remembered of one scope: states of its limits, estimates of run times, and until when."""

    states: dict[str, Any] = field(default_factory=dict)
    estimates: dict[str, int] = field(default_factory=dict)
    forget_at_ms: float = 0

    def keep_until(self, ms: float) -> None:
        """It says something at least until then."""
        self.forget_at_ms = max(self.forget_at_ms, ms)

    def forget(self, now_ms: int) -> None:
        """Forget it when it says nothing any more."""
        if self.forget_at_ms <= now_ms:
            self.states.clear()
            self.estimates.clear()
            self.forget_at_ms = 0


@dataclass(eq=False)
class Line:
    """What waits of one tenant in one tier: ``returned`` entries first, then ``new`` ones.

    ``held_until`` is None while the tenant is not held, ``math.inf`` while only a finish can free it.
    ``allowed``, ``planned``, ``started`` and ``refused`` live for one claim: how many may start (None: not
    looked at), how many are to, how many did, and the named limit that refused the next one.
    """

    tenant: str
    returned: list[Action] = field(default_factory=list)
    new: list[Action] = field(default_factory=list)
    tag: int = 0
    ready: bool = False
    held_until: float | None = None
    held_why: str = ""
    usage: Usage = field(default_factory=Usage)
    planned_charge: int = 0
    allowed: int | None = None
    planned: int = 0
    started: int = 0
    refused: Binding | None = None

    @property
    def waiting(self) -> int:
        """How many could start if nothing bound them."""
        return len(self.returned) + len(self.new)

    def give_back(self, action: Action) -> None:
        """Next in line, in the order of the stream."""
        insort(self.returned, action, key=attrgetter("entry"))

    def take(self, count: int) -> list[Action]:
        """Remove the first ``count``."""
        line = self.returned + self.new
        self.returned, self.new = self.returned[count:], self.new[max(count - len(self.returned), 0) :]
        return line[:count]

    def remove(self, action: Action) -> None:
        """Remove one that will never start."""
        (self.returned if action in self.returned else self.new).remove(action)


class Running:
    """How many actions of each tenant workers own, whichever tiers they started from, and how many more one
    claim has planned: what a concurrency limit counts."""

    def __init__(self) -> None:
        self.owned = Counter[str]()
        self.planned = Counter[str]()

    def of(self, tenant: str) -> int:
        """Slots of the tenant that are taken."""
        return self.owned[tenant] + self.planned[tenant]


class Aside:
    """How much one claim sets aside of paused types at no cost of its slots: bounded, and of one tenant less,
    so that a long line of a paused type keeps nobody waiting."""

    AT_ONCE = 100
    OF_ONE = 25

    def __init__(self) -> None:
        self.left = self.AT_ONCE

    def instead_of(self, count: int, of_line: int, waiting: int) -> int:
        """How many more to read of a line that just gave ``count`` away, ``of_line`` in all."""
        self.left -= count
        return max(min(count, self.left, self.OF_ONE - of_line, waiting), 0)


@dataclass(eq=False)
class Said:
    """What operators and handlers have said; it outranks the policy.

    ``paused`` holds ``domain``, ``tier:<tier>`` and ``type:<action type>``; ``backpressure``: until when
    handlers said not now, by scope: ``tenant:tier``, ``*:tier``, ``*`` (the domain) or ``@limit``.
    """

    overrides: dict[str, Override] = field(default_factory=dict)
    paused: set[str] = field(default_factory=set)
    backpressure: dict[str, int] = field(default_factory=dict)

    def override(self, tenant: str) -> Override:
        """What was set for a tenant."""
        return self.overrides.get(tenant, Override())

    def press(self, scope: str, until_ms: int, now_ms: int) -> None:
        """A handler said not now."""
        if until_ms > now_ms:
            self.backpressure[scope] = max(self.backpressure.get(scope, 0), until_ms)

    def forget(self, now_ms: int) -> None:
        """Forget what has passed."""
        for scope in [scope for scope, until_ms in self.backpressure.items() if until_ms <= now_ms]:
            del self.backpressure[scope]

    def pressed_until(self, scope: str, now_ms: int) -> int:
        """Until when handlers said not now for that scope; 0: they did not."""
        until_ms = self.backpressure.get(scope, 0)
        return until_ms if until_ms > now_ms else 0


class Prediction(NamedTuple):
    """What a claim hands over, whether something startable is left, and when the next thing is due."""

    actions: list[Action]
    more: bool
    next_due_ms: int
    lost: bool = False


@dataclass
class Worker:
    """A registered worker: its lease, what it owns, what it was told to cancel."""

    lease_until_ms: int
    owned: dict[str, Action] = field(default_factory=dict)
    cancelling: set[str] = field(default_factory=set)
