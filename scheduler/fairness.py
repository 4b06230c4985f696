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
A concurrency limit counts what the tenant runs in the domain, whichever tiers it started from.

A tier may have limits of its own, for all its tenants together: they say how many of a claim's slots are the
tier's, and with none left it is passed over. A *named limit* is shared by action types, whoever's they are.
Only when an action has been read its type is known: one that its named limit refuses goes back to the head of
its line with all behind it, and the tenant is held until that limit frees.

**What operators and handlers say** outranks the policy (:class:`~scheduler.lines.Said`). A tenant may have
its own weight, limits and concurrency. A paused tenant is held without a time; a paused tier is passed over
as if it had no work; a paused domain starts nothing. What is read of a paused action type is set aside,
charged to nobody, and the rest of its line goes on; when the type is resumed it comes back to the head of the
line, in order. *Backpressure* of a handler pauses a tenant, a tier or the domain until the time it gave.

**A claim plans first and reads after.** What turns out to be past its deadline when read is handed over to
be answered, fills its slot, and is charged to nobody. What is set aside fills none, within bounds
(:class:`~scheduler.lines.Aside`): the tenant's next action takes its place, else another tenant gets it.
The turns of a claim are given in :mod:`scheduler.turns`.
"""

from __future__ import annotations

import math
from typing import TypeVar

from .binding import NamedLimits, binding, charge, give_back
from .calendar import in_zone
from .limits import Limit
from .lines import Action, Aside, Binding, Line, Running, Said, Usage
from .tiers import CompiledTier

ONE_START = 1_000_000
"""One start at weight 1 in virtual time; also one whole start of a tier's credit."""

UNKNOWN_RUN_TIME_US = 100_000
"""What an attempt is expected to take before anything of its tier has ended."""

ESTIMATES_KEPT_MS = 3_600_000
TYPES_KEPT = 32

T = TypeVar("T")


def learn(estimates: dict[str, int], action_type: str, run_time_us: int) -> None:
    """Move the average of a type by a quarter of the difference; the first measurement is the average."""
    if action_type in estimates:
        estimates[action_type] += (run_time_us - estimates[action_type]) // 4
    elif len(estimates) <= TYPES_KEPT:
        estimates[action_type] = run_time_us


def charge_for(run_time_us: int, weight: float) -> int:
    """What an attempt of that length costs in virtual time."""
    return max(1, math.floor(run_time_us / weight))


def _first(own: T | None, of_tier: T) -> T:
    return of_tier if own is None else own


class Tier:
    """One tier's tenants, its virtual time and the credit of its guaranteed share."""

    def __init__(self, policy: CompiledTier, said: Said, running: Running) -> None:
        self.policy = policy
        self.said = said
        self.running = running
        self.lines: dict[str, Line] = {}
        self.virtual_time = 0
        self.credit = 0
        self.usage = Usage()
        self.turn: Line | None = None
        self.touched: list[Line] = []
        self.read = self.room = self.charged = self.stood_at = 0

    @property
    def by_run_time(self) -> bool:
        """Are starts charged their run time?"""
        return self.policy.fair_by == "run_time"

    def scope(self, line: Line) -> str:
        """The tenant in this tier."""
        return f"{line.tenant}:{self.policy.name}"

    def weight_of(self, line: Line) -> float:
        """The tenant's own weight, else the tier's."""
        return _first(self.said.override(line.tenant).weight, self.policy.weight)

    def limits_of(self, line: Line) -> tuple[Limit, ...]:
        """The tenant's own limits, else the tier's; calendar quotas begin in its own time zone."""
        own = self.said.override(line.tenant)
        return in_zone(_first(own.limits, self.policy.limits), own.time_zone)

    def concurrency_of(self, line: Line) -> int:
        """How many of the tenant's actions may run at once, 0 for any number."""
        return _first(self.said.override(line.tenant).max_concurrency, self.policy.max_concurrency)

    def charge_of(self, line: Line, action_type: str = "") -> int:
        """What a start of that type is charged; without a type, what the next one will probably be."""
        weight = self.weight_of(line)
        if not self.by_run_time:
            return math.floor(ONE_START / weight)
        own, all_ = line.usage.estimates, self.usage.estimates
        for known in (own.get(action_type), all_.get(action_type), own.get(""), all_.get("")):
            if known is not None:
                return charge_for(known, weight)
        return charge_for(UNKNOWN_RUN_TIME_US, weight)

    def correct(self, line: Line, delta: int) -> None:
        """Move a tag. Where virtual time has passed it, what was used beyond its charge counts from now."""
        if line.ready:
            line.tag += delta
        elif line.tag > self.virtual_time or delta > 0:
            line.tag = max(line.tag, self.virtual_time) + delta

    def measured(self, line: Line, action_type: str, run_time_us: int, now_ms: int) -> None:
        """Learn from an attempt that has ended."""
        for usage in (line.usage, self.usage):
            learn(usage.estimates, "", run_time_us)
            learn(usage.estimates, action_type, run_time_us)
            usage.keep_until(now_ms + ESTIMATES_KEPT_MS)

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

    def blocked_until(self, now_ms: int) -> float:
        """Until when nothing of this tier may start; 0: something may."""
        if f"tier:{self.policy.name}" in self.said.paused:
            return math.inf
        shared = binding(self.policy.tier_limits, self.usage.states, now_ms, 1)
        until_ms = self.said.pressed_until(f"*:{self.policy.name}", now_ms)
        return until_ms if shared.starts else max(until_ms, shared.free_at_ms)

    def begin(self, slots: int, now_ms: int) -> None:
        """A claim begins: of ``slots``, how many may be of this tier?"""
        self.touched, self.read, self.room = [], 0, 0
        self.charged, self.stood_at = 0, self.virtual_time
        if not self.blocked_until(now_ms):
            self.room = binding(self.policy.tier_limits, self.usage.states, now_ms, slots).starts
        for line in self.lines.values():
            line.allowed, line.planned, line.started, line.refused = None, 0, 0, None

    def let_start(self, line: Line, now_ms: int) -> Binding:
        """How many of what waits may start as far as limits and pauses say; for none, what and until when."""
        if self.said.override(line.tenant).paused:
            return Binding(0, math.inf, "paused")
        pressed_until = self.said.pressed_until(self.scope(line), now_ms)
        if pressed_until:
            return Binding(0, pressed_until, "backpressure")
        return binding(self.limits_of(line), line.usage.states, now_ms, line.waiting)

    def look_at(self, line: Line, now_ms: int) -> Binding:
        """The same, and is a slot free for it?"""
        bound = self.let_start(line, now_ms)
        if bound.starts and not self.has_slot(line):
            return Binding(0, math.inf, f"concurrency {self.concurrency_of(line)}")
        return bound

    def has_slot(self, line: Line) -> bool:
        """Is one left of those that all lines of this tenant share?"""
        concurrency = self.concurrency_of(line)
        return not concurrency or self.running.of(line.tenant) < concurrency

    def next_line(self, now_ms: int, in_a_row: int) -> Line | None:
        """The tenant whose turn it is, else the startable one with the smallest tag.

        The ones found without allowance get none planned.
        """
        turn = self.turn
        if turn and turn.planned % in_a_row and self._startable(turn, now_ms):
            return turn
        read = self.touched[: self.read]
        ready = [line for line in self.lines.values() if line.ready and line not in read]
        for line in sorted(ready, key=lambda line: (line.tag, line.tenant)):
            if self._startable(line, now_ms):
                return line
            if line not in self.touched:
                self.touched.append(line)
        return None

    def _startable(self, line: Line, now_ms: int) -> bool:
        if line.allowed is None:
            line.allowed = self.let_start(line, now_ms).starts
        return line.planned < line.allowed and self.has_slot(line)

    def hand_over(self, now_ms: int, named: NamedLimits, aside: Aside) -> tuple[list[Action], int]:
        """Take what was planned and not taken yet; which actions, and how many slots were not used."""
        handed: list[Action] = []
        unused = 0
        for line in self.touched[self.read :]:
            actions, left = self._take(line, now_ms, named, aside)
            starting = [action for action in actions if not action.expired(now_ms)]
            self.running.owned[line.tenant] += len(actions)
            self.running.planned[line.tenant] -= line.planned
            line.tag -= line.planned * line.planned_charge
            for action in actions:
                action.charge = self.charge_of(line, action.action_type) if action in starting else 0
                action.weight = self.weight_of(line) if self.by_run_time else 0.0
                action.started_ms = now_ms if action in starting else 0
                line.tag += action.charge
            if starting:
                self.virtual_time = max(self.virtual_time, line.tag - starting[-1].charge)
                self._spend(line, now_ms, len(starting))
            line.started = len(starting)
            self.charged += sum(action.charge for action in actions)
            handed += actions
            unused += left
        self.read = len(self.touched)
        self.room += unused
        return handed, unused

    def settle(self, now_ms: int) -> int:
        """The claim ends: who leaves the index, and where virtual time goes. How many have started?"""
        waited = sum(line.ready for line in self.lines.values())
        starts = sum(line.started for line in self.touched)
        if starts:
            charge(self.policy.tier_limits, self.usage, now_ms, starts)
        leaving = [line for line in self.touched if not self._stays(line, now_ms)]
        self.leave(*leaving)
        if self.virtual_time == self.stood_at:
            self._move_on(self.charged, waited)
        return starts

    def _take(self, line: Line, now_ms: int, named: NamedLimits, aside: Aside) -> tuple[list[Action], int]:
        """Read what was planned, and more in place of what is set aside; a named limit that refuses one stops
        the line there. Also how many slots that left unused."""
        taken: list[Action] = []
        wanted, of_line, unused = line.planned, 0, 0
        while wanted:
            put = 0
            for action in line.take(wanted):
                if not line.refused and not action.expired(now_ms):
                    if f"type:{action.action_type}" in self.said.paused:
                        action.aside = True
                        put += 1
                        continue
                    line.refused = named.use(action.action_type, now_ms)
                if line.refused:
                    line.give_back(action)
                else:
                    taken.append(action)
            of_line += put
            wanted = aside.instead_of(put, of_line, 0 if line.refused else line.waiting)
            unused += put - wanted
        return taken, unused

    def _move_on(self, charged: int, waited: int) -> None:
        """Virtual time never stands still: see above."""
        ready = [line.tag for line in self.lines.values() if line.ready]
        if charged and ready:
            further = min(self.virtual_time + charged // (waited + 1), max(ready) + 1)
            self.virtual_time = max(self.virtual_time, further)

    def _spend(self, line: Line, now_ms: int, starts: int) -> None:
        limits = self.limits_of(line)
        charge(limits, line.usage, now_ms, starts)
        if limits and line.usage.estimates:
            line.usage.keep_until(now_ms + ESTIMATES_KEPT_MS)

    def give_back(self, line: Line, at_ms: int) -> bool:
        """A start at that time never began: no limit counts it. May the tenant be held no more?"""
        give_back(self.policy.tier_limits, self.usage, at_ms)
        known = give_back(self.limits_of(line), line.usage, at_ms)
        return known and line.held_why not in ("paused", "backpressure")

    def _stays(self, line: Line, now_ms: int) -> bool:
        """Does the tenant stay in the index? If not it is drained, or held and knows until when."""
        if not line.waiting:
            return False
        if line.started < (line.allowed or 0) and not line.refused and self.has_slot(line):
            return True
        bound = line.refused or self.look_at(line, now_ms)
        line.held_until, line.held_why = bound.free_at_ms, bound.why
        return False
