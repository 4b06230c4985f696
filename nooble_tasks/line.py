"""What one worker holds in one domain: running attempts, ended ones to hand in, and when to claim again."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable
from functools import partial

from ._engine import Claimed, Finish
from .anteroom import Anteroom
from .delivery_errors import WorkerStopping
from .errors import ActionCancelled, ActionTimeout, LeaseLost, NoobleError
from .executor import Executor
from .slots import Slots

_log = logging.getLogger(__name__)

_STOPS_PER_S = 10
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
        self.claims = 0
        self.turns = 0
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
        self.given_up: list[asyncio.Task[Finish]] = []
        self._tasks: dict[str, asyncio.Task[Finish]] = {}
        self._claimed: dict[str, tuple[Claimed, float]] = {}  # and how long it may run
        self._cancelling: set[str] = set()
        self._overdue: set[str] = set()
        # One timer for all attempts that must end in the same tenth of a second; one each would cost more
        # than many a handler.
        self._stops: dict[int, dict[asyncio.Task[Finish], str]] = {}
        self._timer: asyncio.TimerHandle | None = None

    @property
    def running(self) -> int:
        """How many attempts run."""
        return len(self._tasks)

    @property
    def overdue(self) -> int:
        """How many attempts run on though their time is up."""
        return len(self._overdue)

    @property
    def waiting(self) -> int:
        """How many claimed actions wait for a slot or for room."""
        return self._slots.waiting(self) + (self._anteroom.waiting if self._anteroom is not None else 0)

    def start(self, claimed: Claimed) -> None:
        """Run an attempt, now or as soon as it has a slot and its handler has room."""
        if self._slots.enter(self, claimed):
            self._admit(claimed)

    def start_late(self, claimed: Claimed) -> None:
        """It has waited for a slot, and here is one."""
        self._admit(self.executor.as_of_now(claimed))

    def _admit(self, claimed: Claimed) -> None:
        if self._anteroom is None or self._anteroom.enter(claimed.action_type):
            self._begin(claimed)
            return
        put_off_s = self._anteroom.wait(claimed)
        if put_off_s:
            self.ended.append(self.executor.put_off(claimed, put_off_s))

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
        earlier = self._tasks.get(claimed.action_id)
        if earlier is not None:  # somebody else copied its entry: what the first claim brought is void
            self._cancel(earlier, LeaseLost())
        limit_s = self.executor.limit_s(claimed)
        task = asyncio.get_running_loop().create_task(self.executor.run(claimed, limit_s))
        self._tasks[claimed.action_id] = task
        self._claimed[claimed.action_id] = (claimed, limit_s)
        stop_at = self._stop_after(limit_s, task, claimed.action_id)
        task.add_done_callback(partial(self._over, claimed, limit_s, stop_at))

    def knows(self, action_id: str, token: int) -> bool:
        """Whether what this claim took runs or waits here or is to be handed in or given back.

        An earlier claim of the same action does not count: its outcome may have been accepted, and the action
        been taken again, in the very round trip whose answer was lost.
        """
        here = [finish.action for finish in self.ended] + self.interrupted
        if action_id in self._claimed:
            here.append(self._claimed[action_id][0])
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
        loop = asyncio.get_running_loop()
        at_s = loop.time() + seconds
        if self._timer is not None:
            if self._timer.when() <= at_s:
                return
            self._timer.cancel()
        self._timer = loop.call_at(at_s, self._claim_now)

    def _claim_now(self) -> None:
        self._timer = None
        self.wake()

    def forget_timer(self) -> None:
        """Do not claim again by the clock."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

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
        task = self._tasks.get(action_id)
        if task is not None and action_id not in self._cancelling:
            self._cancelling.add(action_id)
            self._cancel(task, ActionCancelled(action_id=action_id))
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
        for task in self._tasks.values():
            self._cancel(task, WorkerStopping())
        loop = asyncio.get_running_loop()
        until = None if give_up_s is None else loop.time() + give_up_s
        while self._tasks:  # a handler may take its time to clean up
            left_s = None if until is None else until - loop.time()
            if left_s is not None and left_s <= 0:
                self._give_up()
                return
            await asyncio.wait(list(self._tasks.values()), timeout=left_s)
            await asyncio.sleep(0)  # let the callbacks of what ended run

    def _give_up(self) -> None:
        for action_id, task in self._tasks.items():
            claimed, _ = self._claimed[action_id]
            _log.error(
                "the handler of %s swallows every cancellation; action %s is given back while it runs on",
                *(claimed.action_type, action_id),
            )
            self._stopped(claimed)
            self.given_up.append(task)
        self._tasks.clear()
        self._claimed.clear()

    def abandon(self) -> None:
        """Everything here belongs to others now: stop it and forget its outcomes."""
        for task in self._tasks.values():
            self._cancel(task, LeaseLost())
        self._tasks.clear()
        self._claimed.clear()
        self._cancelling.clear()
        self._overdue.clear()
        self.give_back_waiting()
        self.ended.clear()
        self.interrupted.clear()
        self.begun.clear()
        self.unsure = False
        self.claimable = True
        self.leases_lost += 1

    def _stop_after(self, limit_s: float, task: asyncio.Task[Finish], action_id: str) -> int:
        loop = asyncio.get_running_loop()
        at = math.ceil((loop.time() + limit_s) * _STOPS_PER_S)
        stops = self._stops.get(at)
        if stops is None:
            stops = self._stops[at] = {}
            loop.call_at(at / _STOPS_PER_S, self._stop, at)
        stops[task] = action_id
        return at

    def _stop(self, at: int) -> None:
        for task, action_id in self._stops.pop(at, {}).items():
            if self._tasks.get(action_id) is task and action_id not in self._cancelling:
                self._overdue.add(action_id)
                self._cancel(task, ActionTimeout("the attempt ran out of time", action_id=action_id))

    def _cancel(self, task: asyncio.Task[Finish], reason: NoobleError, in_vain: int = 0) -> None:
        """Stop an attempt; the handler finds the reason in its CancelledError and its CancelToken."""
        if task.done():
            return
        if in_vain == _INSISTENCES and isinstance(reason, ActionCancelled | ActionTimeout):
            self._end_without(task, reason)
        task.cancel(reason)
        asyncio.get_running_loop().call_later(_INSIST_S, self._cancel, task, reason, in_vain + 1)

    def _end_without(self, task: asyncio.Task[Finish], reason: ActionCancelled | ActionTimeout) -> None:
        """The handler swallows every cancellation: its action ends as if it did not, and its slot is free."""
        action_id = reason.action_id or ""
        if self._tasks.get(action_id) is not task:
            return
        del self._tasks[action_id]
        claimed, limit_s = self._claimed.pop(action_id)
        self._cancelling.discard(action_id)
        self._overdue.discard(action_id)
        self.given_up.append(task)
        _log.error(
            "the handler of %s swallows every cancellation; action %s ends while it runs on: %s",
            *(claimed.action_type, claimed.action_id, reason),
        )
        cancelled = isinstance(reason, ActionCancelled)
        executor = self.executor
        self.ended.append(executor.cancelled(claimed) if cancelled else executor.timed_out(claimed, limit_s))
        self._slots.fill()
        self._nudge()

    def _over(self, claimed: Claimed, limit_s: float, stop_at: int, task: asyncio.Task[Finish]) -> None:
        stops = self._stops.get(stop_at)
        if stops is not None:
            stops.pop(task, None)
        if self._anteroom is not None:
            started_s = stop_at / _STOPS_PER_S - limit_s
            self._anteroom.leave(claimed.action_type, max(asyncio.get_running_loop().time() - started_s, 0.0))
        if task in self.given_up:
            self.given_up.remove(task)
            self._nudge()  # there may be a slot again
        abandoned = self._tasks.get(claimed.action_id) is not task
        if not abandoned:
            del self._tasks[claimed.action_id], self._claimed[claimed.action_id]
        self._slots.fill()
        if abandoned:
            task.cancelled() or task.exception()  # look at it, so that nobody reports it as unseen
            return
        asked_to_cancel = overdue = False
        if self._cancelling or self._overdue:
            asked_to_cancel = claimed.action_id in self._cancelling
            overdue = claimed.action_id in self._overdue
            self._cancelling.discard(claimed.action_id)
            self._overdue.discard(claimed.action_id)
        if not task.cancelled():
            error = task.exception()
            finish = task.result() if error is None else self.executor.broken(claimed, error)
            self.ended.append(finish)
            self._slots.lookahead.ended(finish.run_time_us / 1_000_000)
        elif asked_to_cancel:
            self.ended.append(self.executor.cancelled(claimed))
        elif overdue:
            self.ended.append(self.executor.timed_out(claimed, limit_s))
        else:
            self._stopped(claimed)
        self._nudge()
