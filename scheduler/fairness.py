"""Who starts next: the decision of ``claim`` in plain Python, without I/O.

This page is the documentation of the algorithm and the oracle that ``scripts/claim.lua`` is tested against,
step by step, by random histories (``tests/scheduler/test_oracle.py``). :mod:`scheduler.oracle` adds the
other verbs around it.

**Between tiers** a slot goes to the best priority that has something startable, except that a tier is owed
its ``guaranteed_share``: for every slot given away while the tier could have used it, the share is added to
its credit; at one whole start the tier is owed a slot and takes it. This is a stride scheduler's accounting
(Waldspurger and Weihl, "Stride Scheduling", MIT 1995) used as mClock uses a reservation, ahead of the
proportional part (Gulati, Merchant and Varman, "mClock", OSDI 2010). A tier with nothing startable loses
its credit: what nobody could use is not saved up.

**Inside a tier** tenants are served by start-time fair queueing (Goyal, Vin and Cheng, "Start-time Fair
Queuing", SIGCOMM 1996). Each tenant has a *tag*, the virtual time at which its next start begins; the
smallest tag is served, and a start moves it on by ``ONE_START / weight``. The tier's *virtual time* is the
tag of the action that started last. A tenant that begins to wait enters at ``max(virtual time, its old
tag)``: being new earns nothing, and leaving and coming back earns nothing. When nobody is startable any more
the busy period is over and virtual time moves past every tag, so that tags can be forgotten.

Were that all, ever new tenants, each served at the virtual time it entered at, would keep it where it is
and pass whoever waits with a later tag for ever. So virtual time never stands still: after a claim that
served nobody ahead of it, it moves on by the average of what those waiting were charged, as the virtual time
of fluid fair queueing does (Demers, Keshav and Shenker, SIGCOMM 1989), but not past the last of them.

A claim of many slots serves a tenant ``quantum(slots)`` times in a row before it looks for the next smallest
tag, as deficit round robin does (Shreedhar and Varghese, SIGCOMM 1995): fewer streams to read, and two
tenants with work never differ by more than one quantum.

With ``fair_by = "run_time"`` a start is charged its expected run time instead of one unit: the moving
average of the tenant's attempts of that type (of the tier's, while the tenant has none), in microseconds.
When the attempt ends the tag moves by the difference to what it took, so that running work counts while it
runs and a tenant with long actions gets its share of worker seconds, not of starts.

**Limits** are asked before a tenant is served and charged for what started, all or nothing. A tenant with
nothing allowed is *held*: it leaves the index until the time its limit frees, and costs the others nothing.

**A claim plans first and reads after.** What turns out to be past its deadline when read is handed over to
be answered, fills its slot, and is charged to nobody.
"""

from __future__ import annotations

import math
from bisect import insort
from collections.abc import Iterable
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, NamedTuple

from .calendar import period_at
from .limits import Limit, allowance, spend, worthless_at
from .model import State
from .tiers import CompiledTier

ONE_START = 1_000_000
"""One start at weight 1 in virtual time; also one whole start of a tier's credit."""

UNKNOWN_RUN_TIME_US = 100_000
"""What an attempt is expected to take before anything of its tier has ended."""

ESTIMATES_KEPT_MS = 3_600_000
TYPES_KEPT = 32


def quantum(slots: int) -> int:
    """Starts of one tenant in a row in a claim of ``slots``: 1 below 12 slots, at most 8."""
    return max(1, min(8, slots // 6))


@dataclass(eq=False)
class Action:
    """An action as the decision sees it. ``entry`` is its place in its stream, ``attempt`` what was spent."""

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
    deaths: int = 0


@dataclass(eq=False)
class Line:
    """What waits of one tenant in one tier: ``returned`` entries first, then ``new`` ones.

    ``held_until`` is None while the tenant is not held, ``math.inf`` while only a finish can free it.
    ``allowed`` and ``planned`` live for one claim: how many may start (None: not looked at), how many will.
    """

    tenant: str
    returned: list[Action] = field(default_factory=list)
    new: list[Action] = field(default_factory=list)
    running: int = 0
    tag: int = 0
    ready: bool = False
    held_until: float | None = None
    held_why: str = ""
    states: dict[str, Any] = field(default_factory=dict)
    estimates: dict[str, int] = field(default_factory=dict)
    forget_at_ms: int = 0
    planned_charge: int = 0
    allowed: int | None = None
    planned: int = 0

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


def learn(estimates: dict[str, int], action_type: str, run_time_us: int) -> None:
    """Move the average of a type by a quarter of the difference; the first measurement is the average."""
    if action_type in estimates:
        estimates[action_type] += (run_time_us - estimates[action_type]) // 4
    elif len(estimates) <= TYPES_KEPT:
        estimates[action_type] = run_time_us


class Binding(NamedTuple):
    """What limits say: how many may start; for none, when that ends and which one binds last."""

    starts: int
    free_at_ms: int = 0
    why: str = ""


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


def charge(limits: Iterable[Limit], states: dict[str, Any], now_ms: int, starts: int) -> None:
    """Count ``starts`` against all of ``limits``."""
    for limit in limits:
        period = period_at(limit.period, now_ms) if limit.period else None
        states[limit.key] = spend(limit, states.get(limit.key), now_ms, starts, period)


class Tier:
    """One tier's tenants, its virtual time and the credit of its guaranteed share."""

    def __init__(self, policy: CompiledTier) -> None:
        self.policy = policy
        self.lines: dict[str, Line] = {}
        self.virtual_time = 0
        self.credit = 0
        self.by_run_time = policy.fair_by == "run_time"
        self.estimates: dict[str, int] = {}
        self.forget_at_ms = 0
        self.turn: Line | None = None

    def charge_for(self, run_time_us: int) -> int:
        """What an attempt of that length costs in virtual time."""
        return max(1, math.floor(run_time_us / self.policy.weight))

    def charge_of(self, line: Line, action_type: str = "") -> int:
        """What a start of that type is charged; without a type, what the next one will probably be."""
        if not self.by_run_time:
            return math.floor(ONE_START / self.policy.weight)
        own, all_ = line.estimates, self.estimates
        for known in (own.get(action_type), all_.get(action_type), own.get(""), all_.get("")):
            if known is not None:
                return self.charge_for(known)
        return self.charge_for(UNKNOWN_RUN_TIME_US)

    def correct(self, line: Line, delta: int) -> None:
        """Move a tag. Where virtual time has passed it, what was used beyond its charge counts from now."""
        if line.ready:
            line.tag += delta
        elif line.tag > self.virtual_time or delta > 0:
            line.tag = max(line.tag, self.virtual_time) + delta

    def measured(self, line: Line, action_type: str, run_time_us: int, now_ms: int) -> None:
        """Learn from an attempt that has ended."""
        for estimates in (line.estimates, self.estimates):
            learn(estimates, "", run_time_us)
            learn(estimates, action_type, run_time_us)
        line.forget_at_ms = max(line.forget_at_ms, now_ms + ESTIMATES_KEPT_MS)
        self.forget_at_ms = max(self.forget_at_ms, now_ms + ESTIMATES_KEPT_MS)

    def line(self, tenant: str) -> Line:
        """The tenant's line, empty when it is new."""
        return self.lines.setdefault(tenant, Line(tenant))

    def enter(self, line: Line) -> None:
        """Into the index: being new or idle earns nothing."""
        line.tag = max(line.tag, self.virtual_time)
        line.ready, line.held_until, line.held_why = True, None, ""

    def leave(self, *lines: Line) -> None:
        """Out of the index, tags kept. When nobody is left in it, the busy period is over."""
        for line in lines:
            line.ready = False
        if lines and not any(line.ready for line in self.lines.values()):
            self.virtual_time = max(self.virtual_time, *(line.tag for line in self.lines.values()))

    def look_at(self, line: Line, now_ms: int) -> int:
        """How many of what waits may start now."""
        starts = binding(self.policy.limits, line.states, now_ms, line.waiting).starts
        if self.policy.max_concurrency:
            starts = min(starts, max(self.policy.max_concurrency - line.running, 0))
        return starts

    def next_line(self, now_ms: int, in_a_row: int) -> Line | None:
        """The tenant whose turn it is, else the startable one with the smallest tag.

        The ones found without allowance get none planned.
        """
        turn = self.turn
        if turn and turn.planned % in_a_row and turn.planned < (turn.allowed or 0):
            return turn
        in_order = sorted(
            (line for line in self.lines.values() if line.ready), key=lambda line: (line.tag, line.tenant)
        )
        for line in in_order:
            if line.allowed is None:
                line.allowed = self.look_at(line, now_ms)
            if line.planned < line.allowed:
                return line
        return None

    def hand_over(self, now_ms: int) -> tuple[list[Action], int]:
        """Take what was planned; which actions, and how many of them are starts."""
        handed: list[Action] = []
        all_starts = 0
        stood_at, waited = self.virtual_time, sum(line.ready for line in self.lines.values())
        looked_at = [line for line in self.lines.values() if line.ready and line.allowed is not None]
        touched = [line for line in looked_at if line.planned or not line.allowed]
        starts_of: dict[str, int] = {}
        for line in touched:
            actions = line.take(line.planned)
            starting = [action for action in actions if not 0 < action.deadline_ms <= now_ms]
            starts = len(starting)
            line.running += len(actions)
            line.tag -= len(actions) * line.planned_charge
            for action in actions:
                action.charge = self.charge_of(line, action.action_type) if action in starting else 0
                line.tag += action.charge
            if starts:
                self.virtual_time = max(self.virtual_time, line.tag - starting[-1].charge)
                charge(self.policy.limits, line.states, now_ms, starts)
                self._keep_usage(line, now_ms)
            starts_of[line.tenant] = starts
            handed += actions
            all_starts += starts
        self.leave(*[line for line in touched if not self._stays(line, starts_of[line.tenant], now_ms)])
        if self.virtual_time == stood_at:
            self._move_on(sum(action.charge for action in handed), waited)
        return handed, all_starts

    def _move_on(self, charged: int, waited: int) -> None:
        """Virtual time never stands still: see above."""
        ready = [line.tag for line in self.lines.values() if line.ready]
        if charged and ready:
            further = min(self.virtual_time + charged // (waited + 1), max(ready) + 1)
            self.virtual_time = max(self.virtual_time, further)

    def _keep_usage(self, line: Line, now_ms: int) -> None:
        """Until when this tenant's usage says something, as far as its limits know."""
        if self.policy.limits:
            ends = [
                worthless_at(
                    limit, line.states[limit.key], period_at(limit.period, now_ms) if limit.period else None
                )
                for limit in self.policy.limits
            ]
            line.forget_at_ms = max(*ends, now_ms + ESTIMATES_KEPT_MS if line.estimates else 0)

    def _stays(self, line: Line, starts: int, now_ms: int) -> bool:
        """Does the tenant stay in the index? If not it is drained, or held and knows until when."""
        if not line.waiting:
            return False
        if starts < (line.allowed or 0):
            return True
        bound = binding(self.policy.limits, line.states, now_ms, 1)
        line.held_until = bound.free_at_ms if bound.why else math.inf
        line.held_why = bound.why or f"concurrency {self.policy.max_concurrency}"
        return False


def choose(tiers: list[Tier], now_ms: int, in_a_row: int) -> tuple[Tier, Line] | None:
    """Which tier, and which of its tenants, gets the next slot."""
    startable: list[tuple[Tier, Line]] = []
    for tier in tiers:
        line = tier.next_line(now_ms, in_a_row)
        if line:
            startable.append((tier, line))
            tier.credit += tier.policy.share
        else:
            tier.credit = 0
    owed = [pair for pair in startable if pair[0].policy.share and pair[0].credit >= ONE_START]
    if owed:
        return max(owed, key=lambda pair: pair[0].credit)
    return startable[0] if startable else None


def plan(tiers: list[Tier], slots: int, now_ms: int) -> None:
    """Give away ``slots`` one by one; every line then knows how many of its actions are to start."""
    for tier in tiers:
        tier.turn = None
        for line in tier.lines.values():
            line.allowed, line.planned = None, 0
    for _ in range(slots):
        chosen = choose(tiers, now_ms, quantum(slots))
        if not chosen:
            return
        tier, line = chosen
        tier.turn = line
        if not line.planned:
            line.planned_charge = tier.charge_of(line)
        line.planned += 1
        line.tag += line.planned_charge
        tier.credit = max(tier.credit - ONE_START, 0)
