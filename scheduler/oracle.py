"""The verbs around the decision, in plain Python: predicts what the scripts do to any history.

Nothing here is bounded, chunked or stored cleverly; that is the scripts' part. What must come out the same:
which actions a claim hands over, every action's state, who is held until when and why, and when the next
thing is due.
"""

from __future__ import annotations

import math

from .admission import Admission
from .binding import NamedLimits, binding, charge, give_back
from .fairness import Tier, charge_for
from .lines import Action, Line, Prediction, Running, Said, Usage, Worker
from .model import NewAction, Outcome, State
from .oracle_admission import no_room
from .oracle_registry import Register
from .poison import APART_MS
from .tiers import CompiledPolicy
from .turns import hand_out


class Oracle:
    """One domain under one policy. ``now_ms`` is set by ``advance``."""

    def __init__(
        self,
        policy: CompiledPolicy,
        now_ms: int,
        *,
        lease_ms: int = 15_000,
        duplicate_window_ms: int = 300_000,
        poison_deaths: int = 5,
        admission: Admission | None = None,
    ) -> None:
        self.said = Said()
        self.running = Running()
        self.tiers = {tier.name: Tier(tier, self.said, self.running) for tier in policy.tiers}
        names = tuple(self.tiers)
        self.register = Register(admission or Admission(names, names[-1]))
        self.domain_limits = policy.domain_limits
        self.domain_usage = Usage()
        self.named = NamedLimits(policy.named, self.said)
        self.now_ms = now_ms
        self.lease_ms = lease_ms
        self.duplicate_window_ms = duplicate_window_ms
        self.poison_deaths = poison_deaths
        self.alive: dict[str, Action] = {}
        self.ended: set[tuple[int, str]] = set()
        self.unique_holders: dict[str, str] = {}
        self.workers: dict[str, Worker] = {}
        self.entries = 0

    def advance(self, ms: int) -> None:
        """Move the clock."""
        self.now_ms += ms

    def enqueue(self, action: NewAction) -> str:
        """Empty when accepted, else the id that is in its way, or ``!`` and why there is no room."""
        period = self.now_ms // self.duplicate_window_ms
        known = {(period, action.action_id), (period - 1, action.action_id)} & self.ended
        if action.action_id in self.alive or known:
            return action.action_id
        if action.unique_key in self.unique_holders:
            return self.unique_holders[action.unique_key]
        placed = self.register.place(action)
        if isinstance(placed, str):
            return placed
        action = placed
        full = no_room(self.tiers[action.tier], self.alive.values(), action, self.now_ms)
        if full:
            return f"!{full}"
        new = Action(
            action.action_id,
            action.tenant_id,
            action.tier,
            action.action_type,
            action.due_ms,
            action.deadline_ms,
            action.unique_key,
        )
        self.alive[new.action_id] = new
        if new.unique_key:
            self.unique_holders[new.unique_key] = new.action_id
        if new.due_ms > self.now_ms:
            new.state = State.SCHEDULED
        else:
            self.append(new)
        return ""

    def extend(self, worker_id: str, *, register: bool = False) -> bool:
        """Is the worker's lease still held?"""
        until_ms = self.now_ms + self.lease_ms
        if register:
            self.workers.setdefault(worker_id, Worker(until_ms))
        worker = self.workers.get(worker_id)
        if worker:
            known = worker.lease_until_ms
            worker.lease_until_ms = until_ms if known > until_ms + self.lease_ms else max(known, until_ms)
        return worker is not None

    def claim(self, worker_id: str, slots: int) -> Prediction:
        """Hand over up to ``slots`` actions."""
        worker = self.workers.get(worker_id)
        if not worker:
            return Prediction([], False, 0, lost=True)
        if worker.lease_until_ms < self.now_ms:
            worker.lease_until_ms = self.now_ms + self.lease_ms
        self._make_due_ready()
        if "domain" in self.said.paused:
            return Prediction([], False, 0)
        pressed_until = self.said.pressed_until("*", self.now_ms)
        if pressed_until:
            return Prediction([], False, pressed_until)
        of_domain = binding(self.domain_limits, self.domain_usage.states, self.now_ms, slots)
        if not of_domain.starts:
            return Prediction([], False, int(of_domain.free_at_ms))
        tiers = list(self.tiers.values())
        handed = hand_out(tiers, of_domain.starts, self.now_ms, self.named)
        starts = sum(tier.settle(self.now_ms) for tier in tiers)
        if starts:
            charge(self.domain_limits, self.domain_usage, self.now_ms, starts)
        for action in handed:
            action.attempt += 1
            action.state, action.worker = State.RUNNING, worker_id
            worker.owned[action.action_id] = action
        more = any(self._startable(tier) for tier in tiers)
        return Prediction(handed, more, self._next_due())

    def finish(
        self,
        worker_id: str,
        action_id: str,
        outcome: Outcome,
        due_ms: int = 0,
        run_time_us: int = 0,
        pressed: tuple[str, int] = ("", 0),
    ) -> bool:
        """Accepted, or refused because the worker does not own it. ``pressed``: a scope, and until when."""
        worker = self.workers.get(worker_id)
        action = worker.owned.pop(action_id, None) if worker else None
        if not worker or not action:
            return False
        worker.cancelling.discard(action_id)
        line, tier = self._line(action), self.tiers[action.tier]
        self.running.owned[action.tenant] -= 1
        if action.weight and outcome is not Outcome.EXPIRED:
            if outcome is not Outcome.CANCELLED:
                tier.measured(line, action.action_type, run_time_us, self.now_ms)
            tier.correct(line, charge_for(run_time_us, action.weight) - action.charge)
        if outcome in (Outcome.RETRY, Outcome.SNOOZED):
            action.attempt -= outcome is Outcome.SNOOZED
            if due_ms > self.now_ms:
                action.state, action.due_ms, action.worker = State.SCHEDULED, due_ms, ""
            else:
                self.give_back(action)
        else:
            self._end(action, State(outcome.value))
        self.said.press(*pressed, self.now_ms)
        self._end_concurrency_hold(action)
        return True

    def release(self, worker_id: str, action_id: str, *, begun: bool = False) -> bool:
        """Give back one action; no attempt is spent, and no start unless it had ``begun``."""
        worker = self.workers.get(worker_id)
        action = worker.owned.pop(action_id, None) if worker else None
        if not worker or not action:
            return False
        worker.cancelling.discard(action_id)
        line, tier = self._line(action), self.tiers[action.tier]
        self.running.owned[action.tenant] -= 1
        unstarted = action.started_ms and not begun
        if unstarted:
            tier.correct(line, -action.charge)
        action.attempt -= 1
        self.give_back(action)
        self._end_concurrency_hold(action)
        if unstarted:
            self._unspend(action)
        return True

    def _unspend(self, action: Action) -> None:
        """No limit counts its start any more; whom that lets start is held no more."""
        line, at_ms = self._line(action), action.started_ms
        own = self.tiers[action.tier].give_back(line, at_ms)
        give_back(self.domain_limits, self.domain_usage, at_ms)
        reasons = self.named.give_back(action.action_type, at_ms)
        for tier, held in self.held():
            if held.held_why in reasons or (held is line and own):
                tier.enter(held)

    def cancel(self, action_id: str) -> str:
        """``cancelled``, ``running`` (its worker is told) or ``unknown``."""
        action = self.alive.get(action_id)
        if not action:
            return "unknown"
        if action.state is State.RUNNING:
            self.workers[action.worker].cancelling.add(action_id)
            return "running"
        if action.state is not State.SCHEDULED and not action.aside:
            line, tier = self._line(action), self.tiers[action.tier]
            line.remove(action)
            self._look_at_head_again(line, tier)
            if not line.waiting:
                line.held_until, line.held_why = None, ""
                if line.ready:
                    tier.leave(line)
        self._end(action, State.CANCELLED)
        return "cancelled"

    def promote(self) -> int:
        """Make due work ready, and forget usage that says nothing any more."""
        moved = self._make_due_ready()
        for usage in (self.domain_usage, *self.named.usage.values()):
            usage.forget(self.now_ms)
        for tier in self.tiers.values():
            tier.usage.forget(self.now_ms)
            for line in tier.lines.values():
                line.usage.forget(self.now_ms)
        return moved

    def _make_due_ready(self) -> int:
        """Due actions into their lines, holds that have ended out of the way; how many of both."""
        due = [a for a in self.alive.values() if a.state is State.SCHEDULED and a.due_ms <= self.now_ms]
        for action in sorted(due, key=lambda a: (a.due_ms, a.action_id)):
            if action.entry:
                self.give_back(action)
            else:
                self.append(action)
        self.said.forget(self.now_ms)
        freed = [pair for pair in self.held() if (pair[1].held_until or 0) <= self.now_ms]
        for tier, line in freed:
            tier.enter(line)
        return len(due) + len(freed)

    def reclaim(self) -> tuple[int, int]:
        """Take back what one dead worker held: dead workers found, actions taken back."""
        dead = [
            (w.lease_until_ms, name) for name, w in self.workers.items() if w.lease_until_ms < self.now_ms
        ]
        if not dead:
            return 0, 0
        name = min(dead)[1]
        worker = self.workers[name]
        owned = sorted(worker.owned.values(), key=lambda action: action.action_id)
        poisoned = [action for action in owned if action.deaths + 1 >= self.poison_deaths]
        again = [action for action in owned if action not in poisoned]
        apart = 0
        for action in again:
            action.deaths += 1
            self.running.owned[action.tenant] -= 1
            if action.deaths == self.poison_deaths - 1 and len(owned) > 1:
                action.state, action.worker = State.SCHEDULED, ""
                action.due_ms = self.now_ms + apart * APART_MS
                apart += 1
            else:
                self.give_back(action)
        for action in again:
            self._end_concurrency_hold(action)
        for action in poisoned:
            self.finish(name, action.action_id, Outcome.DEAD)
        del self.workers[name]
        return 1, len(owned)

    def state(self, action_id: str) -> State:
        """Where an action is; what ended is unknown here."""
        action = self.alive.get(action_id)
        if not action:
            return State.UNKNOWN
        if action.state is State.READY and (action.aside or self._line(action).held_until is not None):
            return State.HELD
        return action.state

    def _line(self, action: Action) -> Line:
        return self.tiers[action.tier].line(action.tenant)

    def next_entry(self) -> int:
        """The place of what is written into a stream now."""
        self.entries += 1
        return self.entries

    def append(self, action: Action) -> None:
        """At the end of its line."""
        action.entry, action.state = self.next_entry(), State.READY
        line = self._line(action)
        line.new.append(action)
        if line.waiting == 1:
            self.tiers[action.tier].enter(line)

    def give_back(self, action: Action) -> None:
        """Next in its line."""
        action.state, action.worker, action.aside = State.READY, "", False
        line = self._line(action)
        line.give_back(action)
        self._look_at_head_again(line, self.tiers[action.tier])
        if line.waiting == 1:
            self.tiers[action.tier].enter(line)

    def _look_at_head_again(self, line: Line, tier: Tier) -> None:
        """A named limit held the tenant for what was next in its line; another action is next now."""
        if line.waiting and line.held_why.startswith("limit "):
            tier.enter(line)

    def _end(self, action: Action, state: State) -> None:
        action.state, action.worker = state, ""
        del self.alive[action.action_id]
        self.ended.add((self.now_ms // self.duplicate_window_ms, action.action_id))
        if action.unique_key:
            del self.unique_holders[action.unique_key]

    def _end_concurrency_hold(self, action: Action) -> None:
        """A slot of its tenant is free, for its lines in all tiers."""
        for tier, line in self.held():
            if line.tenant == action.tenant and line.held_until == math.inf:
                tier.enter(line)

    def held(self) -> list[tuple[Tier, Line]]:
        """Who is held."""
        return [
            (tier, line)
            for tier in self.tiers.values()
            for line in tier.lines.values()
            if line.held_until is not None
        ]

    def _startable(self, tier: Tier) -> bool:
        if tier.blocked_until(self.now_ms):
            return False
        return any(line.ready and tier.look_at(line, self.now_ms).starts for line in tier.lines.values())

    def _next_due(self) -> int:
        times: list[float] = [a.due_ms for a in self.alive.values() if a.state is State.SCHEDULED]
        times += [line.held_until for _, line in self.held() if line.held_until is not None]
        for tier in self.tiers.values():
            if any(line.ready for line in tier.lines.values()):
                times.append(tier.blocked_until(self.now_ms) or math.inf)
        soonest = min(times, default=math.inf)
        return 0 if soonest == math.inf else int(soonest)
