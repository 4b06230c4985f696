"""What one worker holds in one domain: running attempts, ended ones to hand in, and when to claim again."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable
from functools import partial

from ._engine import Claimed, Finish
from .alarm import Alarm
from .anteroom import Anteroom
from .delivery_errors import WorkerStopping
from .errors import ActionCancelled, ActionTimeout, LeaseLost, NoobleError
from .executor import Executor
from .slots import Slots

_log = logging.getLogger(__name__)

_Attempt = tuple[asyncio.Task[Finish], Claimed, float, float]
"""A running one: its task, what it runs, how long it may, until when on the loop's clock."""

_STOPS_EVERY_S = 0.1
_INSISTENCES = 3  # after so many cancellations in vain the action ends without its handler
_INSIST_S = 5.0  # a cancellation can get lost on Python 3.11 (see end_task); this is long enough to clean up


class Line:
    """One domain's side of a worker.

    ``claimable``: a claim may find something. ``wakes``: how often something said so. ``woken``: it was
    said to this worker alone. ``claims``: claims under way. ``turns``: turns under way. ``returns``: how
    often something was given back. ``unsure``: the answer to a claim got lost, so this worker may own what
    it does not know. ``plenty``: the last one left something behind. ``ended``: outcomes to hand in.
    ``interrupted``: attempts stopped from outside, to be released; ``begun``: the ids of those that were
    started here. ``nudge`` is called when there is something to do. ``slots`` keeps what was claimed before
    a slot was free, ``anteroom`` what its handler has no room for yet.
    """

    def __init__(
        self,
        domain: str,
        executor: Executor,
        nudge: Callable[[], None],
        slots: Slots,
        anteroom: Anteroom | None = None,
    ) -> None:
        self.domain = domain
        self.executor = executor
        self.claimable = True
        self.wakes = 0
        self.woken = False
        self.claims = self.turns = 0
        self.returns = 0
        self.leases_lost = 0
        self.unsure = False
        self.plenty = False
        self.ended: list[Finish] = []
        self.interrupted: list[Claimed] = []
        self.begun: set[str] = set()
        self._nudge = nudge
        self._slots = slots
        slots.lines.append(self)
        self._anteroom = anteroom if anteroom is not None and anteroom.needed else None
        slots.has_anterooms |= self._anteroom is not None
        self.admit = self._begin if self._anteroom is None else self._admit  # what has a slot
        self.given_up: list[asyncio.Task[Finish]] = []
        self._attempts: dict[str, _Attempt] = {}
        self._watched: set[asyncio.Task[Finish]] = set()  # those whose end is a callback's business
        self._cancelling: set[str] = set()
        self._overdue: set[str] = set()
        self._limits = Alarm(self._stop_overdue, _STOPS_EVERY_S)
        self._timer = Alarm(self.wake)

    @property
    def running(self) -> int:
        """How many attempts run."""
        return len(self._attempts)

    @property
    def overdue(self) -> int:
        """How many attempts run on though their time is up."""
        return len(self._overdue)

    @property
    def waiting(self) -> int:
        """How many claimed actions wait for a slot or for room."""
        return self._slots.waiting(self) + (self._anteroom.waiting if self._anteroom is not None else 0)

    def start(self, *actions: Claimed) -> None:
        """Run attempts, now or as soon as each has a slot and its handler has room."""
        self._slots.enter(self, actions)

    def start_late(self, claimed: Claimed) -> None:
        """It has waited for a slot, and here is one."""
        self.admit(self.executor.as_of_now(claimed))

    def _admit(self, claimed: Claimed) -> None:
        if self._anteroom is None or self._anteroom.enter(claimed.action_type):
            self._begin(claimed)
            return
        put_off_s = self._anteroom.wait(claimed)
        if put_off_s:
            self.ended.append(self.executor.put_off(claimed, put_off_s))
            self._nudge()

    def refill(self) -> None:
        """Start what there is room for by now."""
        if self._anteroom is not None:
            for claimed in self._anteroom.admitted(lambda: self._slots.free):
                self._begin(self.executor.as_of_now(claimed))

    def give_back_waiting(self) -> None:
        """What waits here goes to other workers."""
        self.give_back(self._slots.clear(self))
        if self._anteroom is not None:
            self.give_back(self._anteroom.clear())

    def give_back(self, claimed: list[Claimed]) -> None:
        """Release what did not begin."""
        if claimed:
            self.returns += 1
            self.interrupted += claimed
            self._nudge()

    def _begin(self, claimed: Claimed) -> None:
        """In a task of its own, for as long as it may."""
        earlier = self._attempts.get(claimed.action_id)
        if earlier is not None:  # somebody else copied its entry: what the first claim brought is void
            self._cancel(earlier, LeaseLost())
            self._take_out(claimed.action_id)
        loop, limit_s = asyncio.get_running_loop(), self.executor.limit_s(claimed)
        until_s = loop.time() + limit_s
        runs = self._attempt(claimed, limit_s)
        own = loop.get_task_factory() is not None  # else it is made as the loop does, in less time
        task = loop.create_task(runs) if own else asyncio.Task(runs, loop=loop, name=claimed.action_type)
        attempt = self._attempts[claimed.action_id] = (task, claimed, limit_s, until_s)
        self._limits.set(until_s)
        if own and task.done():  # it was run eagerly, and found nothing to note its end in
            self._watch(attempt)

    async def _attempt(self, claimed: Claimed, limit_s: float) -> Finish:
        """Notes its end itself where that is as usual: a callback costs a context and a round of the loop."""
        finish: Finish | None = None
        try:
            finish = await self.executor.run(claimed, limit_s)
            return finish
        finally:
            attempt = self._attempts.get(claimed.action_id)
            if attempt is not None and attempt[1] is claimed:  # else it was cancelled, and is watched
                if finish is None or attempt[0] in self._watched or attempt[0].cancelling():
                    self._watch(attempt)
                else:
                    del self._attempts[claimed.action_id]
                    self._leave_room(attempt)
                    self._slots.fill_from_inside()
                    self._completed(finish)

    def _completed(self, finish: Finish) -> None:
        self.ended.append(finish)
        self._slots.lookahead.ended(finish.run_time_us / 1_000_000)
        self._nudge()

    def _leave_room(self, attempt: _Attempt) -> None:
        if self._anteroom is not None:
            _, claimed, limit_s, until_s = attempt
            left_s = until_s - asyncio.get_running_loop().time()
            self._anteroom.leave(claimed.action_type, max(limit_s - left_s, 0.0))

    def _watch(self, attempt: _Attempt) -> None:
        """How it ends is not known before it has: it is being cancelled, or breaks."""
        task = attempt[0]
        if task not in self._watched:
            self._watched.add(task)
            task.add_done_callback(partial(self._over, attempt), context=self._slots.outside)

    def knows(self, action_id: str, token: int) -> bool:
        """Whether what this claim took runs or waits here or is to be handed in or given back.

        An earlier claim of the same action does not count: its outcome may have been accepted, and the action
        been taken again, in the very round trip whose answer was lost.
        """
        here = [finish.action for finish in self.ended] + self.interrupted
        if action_id in self._attempts:
            here.append(self._attempts[action_id][1])
        here += self._slots.held(self)
        if self._anteroom is not None:
            here += self._anteroom.held()
        return any(each.action_id == action_id and each.token == token for each in here)

    def take_ended(self) -> list[Finish]:
        """The outcomes to hand in, which are the caller's now."""
        ended, self.ended = self.ended, []
        return ended

    def take_interrupted(self) -> list[Claimed]:
        """What is to be released, which is the caller's now."""
        interrupted, self.interrupted = self.interrupted, []
        return interrupted

    def _stopped(self, claimed: Claimed) -> None:
        self.interrupted.append(claimed)
        self.begun.add(claimed.action_id)

    def claim_in(self, seconds: float) -> None:
        """Claim again after so long, unless something happens before, or a claim is due earlier anyway."""
        self._timer.set(asyncio.get_running_loop().time() + seconds)

    def forget_timer(self) -> None:
        """Do not claim again by the clock."""
        self._timer.off()

    def wake(self) -> None:
        """There may be something to claim, and others may not know of it."""
        self.woken = True
        self.look_again()

    def look_again(self) -> None:
        """There may be something to claim."""
        self.wakes += 1
        self.claimable = True
        self._nudge()

    def cancel(self, action_id: str) -> None:
        """Somebody asked to cancel an action that may be running here."""
        attempt = self._attempts.get(action_id)
        if attempt is not None and action_id not in self._cancelling:
            self._cancelling.add(action_id)
            self._cancel(attempt, ActionCancelled(action_id=action_id))
        waiting = self._slots.take(self, action_id)
        if waiting is None and self._anteroom is not None:
            waiting = self._anteroom.take(action_id)
        if waiting is not None:
            self.ended.append(self.executor.cancelled(waiting))

    async def interrupt(self, give_up_s: float | None = None) -> None:
        """Stop everything that runs; what had not ended is in ``interrupted`` then.

        A handler that will not end is given up after ``give_up_s`` seconds: its outcome is not waited for,
        its task is in ``given_up``.
        """
        self.give_back_waiting()
        for attempt in self._attempts.values():
            self._cancel(attempt, WorkerStopping())
        loop = asyncio.get_running_loop()
        until = None if give_up_s is None else loop.time() + give_up_s
        while self._attempts:  # a handler may take its time to clean up
            left_s = None if until is None else until - loop.time()
            if left_s is not None and left_s <= 0:
                self._give_up()
                return
            await asyncio.wait([attempt[0] for attempt in self._attempts.values()], timeout=left_s)
            await asyncio.sleep(0)  # let the callbacks of what ended run

    def _give_up(self) -> None:
        for action_id, (task, claimed, *_) in list(self._attempts.items()):
            _log.error(
                "the handler of %s swallows every cancellation; action %s is given back while it runs on",
                *(claimed.action_type, action_id),
            )
            self._take_out(action_id)
            self._stopped(claimed)
            self.given_up.append(task)

    def abandon(self) -> None:
        """Everything here belongs to others now: stop it and forget its outcomes."""
        for attempt in self._attempts.values():
            self._cancel(attempt, LeaseLost())
        self._attempts.clear()
        self._cancelling.clear()
        self._overdue.clear()
        self.give_back_waiting()
        self.ended.clear()
        self.interrupted.clear()
        self.begun.clear()
        self.unsure, self.claimable = False, True
        self.leases_lost += 1

    def _stop_overdue(self) -> None:
        now_s, next_s = asyncio.get_running_loop().time(), math.inf
        for action_id, attempt in list(self._attempts.items()):
            until_s = attempt[3]
            if until_s > now_s:
                next_s = min(next_s, until_s)
            elif action_id not in self._cancelling and action_id not in self._overdue:
                self._overdue.add(action_id)
                self._cancel(attempt, ActionTimeout("the attempt ran out of time", action_id=action_id))
        self._limits.set(next_s)

    def _cancel(self, attempt: _Attempt, reason: NoobleError, in_vain: int = 0) -> None:
        """Stop an attempt; the handler finds the reason in its CancelledError and its CancelToken."""
        task = attempt[0]
        if not task.done() or self._attempts.get(attempt[1].action_id) is attempt:
            self._watch(attempt)
        if task.done():
            return
        if in_vain == _INSISTENCES and isinstance(reason, ActionCancelled | ActionTimeout):
            self._end_without(attempt, reason)
        task.cancel(reason)
        asyncio.get_running_loop().call_later(_INSIST_S, self._cancel, attempt, reason, in_vain + 1)

    def _end_without(self, attempt: _Attempt, reason: ActionCancelled | ActionTimeout) -> None:
        """The handler swallows every cancellation: its action ends as if it did not, and its slot is free."""
        task, claimed, limit_s, _ = attempt
        if self._attempts.get(claimed.action_id) is not attempt:
            return
        self._take_out(claimed.action_id)
        self.given_up.append(task)
        _log.error(
            "the handler of %s swallows every cancellation; action %s ends while it runs on: %s",
            *(claimed.action_type, claimed.action_id, reason),
        )
        executor, cancelled = self.executor, isinstance(reason, ActionCancelled)
        self.ended.append(executor.cancelled(claimed) if cancelled else executor.timed_out(claimed, limit_s))
        self._slots.fill()
        self._nudge()

    def _take_out(self, action_id: str) -> tuple[bool, bool]:
        """What is noted of an attempt is nothing of a later one's; whether it was cancelled, or overdue."""
        del self._attempts[action_id]
        noted = action_id in self._cancelling, action_id in self._overdue
        self._cancelling.discard(action_id)
        self._overdue.discard(action_id)
        return noted

    def _over(self, attempt: _Attempt, task: asyncio.Task[Finish]) -> None:
        _, claimed, limit_s, _ = attempt
        self._watched.discard(task)
        self._leave_room(attempt)
        if task in self.given_up:
            self.given_up.remove(task)
            self._nudge()  # there may be a slot again
        abandoned = self._attempts.get(claimed.action_id) is not attempt
        asked_to_cancel, overdue = (False, False) if abandoned else self._take_out(claimed.action_id)
        self._slots.fill()
        if abandoned:
            task.cancelled() or task.exception()  # look at it, so that nobody reports it as unseen
            return
        if not task.cancelled():
            error = task.exception()
            self._completed(task.result() if error is None else self.executor.broken(claimed, error))
            return
        if asked_to_cancel:
            self.ended.append(self.executor.cancelled(claimed))
        elif overdue:
            self.ended.append(self.executor.timed_out(claimed, limit_s))
        else:
            self._stopped(claimed)
        self._nudge()
