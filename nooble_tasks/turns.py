"""A worker's turns: hand in what ended, claim what fits, start it. One round trip each."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import partial
from typing import Any

from redis.exceptions import RedisError

from ._engine import Claim, Clock, Engine, Finish, SchedulerError, roster
from .asking import Asked, ask
from .children import ChildrenCanceller
from .line import Line
from .slots import Slots
from .strangers import doubt, give_back_strangers

IN_FLIGHT = 2  # while Redis answers one turn, what the other brought runs
LARGE_BYTES = 65_536
"""Of payloads in one answer. The server writes about so much at once, and before it writes more it runs what
it was asked meanwhile. With two turns under way both answers came at once: each side waited for the other."""
IDLE_CLAIM_S = 60.0  # a sleeping worker looks for itself so often, should a wake-up have been lost
_ERRORS = (RedisError, OSError, SchedulerError)
_BACKOFF_S = (0.1, 0.25, 0.5, 1.0, 2.0, 4.0)


class Turns:
    """Takes turns over the lines of a worker's domains, for the ``slots`` that they share.

    ``follow(domain, version)`` is awaited when a claim was decided under another version of the policy than
    the engine goes by, before what it brought starts. ``worker_id`` tells under which id it is registered
    now, ``nudge`` is called when a turn is over, ``on_lost`` when a claim finds that the lease has ended.
    """

    def __init__(
        self,
        engine: Engine,
        slots: Slots,
        *,
        follow: Callable[[str, int], Awaitable[None]],
        worker_id: Callable[[], str],
        nudge: Callable[[], None],
        on_lost: Callable[[str], None],
        logger: logging.Logger,
    ) -> None:
        self._engine = engine
        self._follow_policy = follow
        self._clock: Clock = engine.clock
        self._slots = slots
        self._lines = list(slots.lines)
        # On one connection what was asked first is answered first. On two, later actions could start earlier.
        self._in_flight = IN_FLIGHT if hasattr(engine.redis, "execute_together") else 1
        self._worker_id = worker_id
        self._nudge = nudge
        self._on_lost = on_lost
        self._logger = logger
        self._tasks: set[asyncio.Task[None]] = set()
        self._under_way = 0  # turns without a task: whose answer is told
        self._answered = asyncio.Event()
        self._asked_for = 0
        self._failures = 0
        self._large = False
        self._following = asyncio.Lock()
        self.progress = 0
        self._children = ChildrenCanceller(engine)
        for line in self._lines:
            line.executor.on_cancelled = self._children.cancel

    @property
    def idle(self) -> bool:
        """Nothing runs, nothing is to be handed in, nothing is under way."""
        if self._under_way or self._tasks:
            return False
        return not any(line.running or line.ended or line.waiting for line in self._lines)

    @property
    def failing(self) -> bool:
        """Redis did not answer the last turn."""
        return self._failures > 0

    def begin_all(self, *, quiet: bool) -> bool:
        """`begin`, and again where a line had plenty; whether any was due."""
        begun = self.begin(quiet=quiet)
        again = begun
        while again and any(line.plenty for line in self._lines):
            again = self.begin(quiet=quiet)
        return begun

    def begin(self, *, quiet: bool) -> bool:
        """Begin the turns that are due; whether any was. ``quiet``: claim nothing."""
        begun = False
        for line in self._lines:
            if self._under_way + len(self._tasks) >= (1 if self._large else self._in_flight):
                break
            if not (line.claimable or line.ended or line.unsure or line.interrupted):
                continue
            if line.unsure:
                # Only while no turn is under way is what the server says we own what we should know.
                if not line.turns:
                    begun = True
                    self._launch(line, self._take_stock(line))
                continue
            if line.interrupted:
                begun = True
                self._launch(line, self._give_back(line))
                continue
            slots = 0 if quiet or not line.claimable else self._free_slots(line)
            if slots <= 0 and not line.ended:
                if line.woken and not quiet and not self._asked_for:
                    begun = True
                    self._launch(line, self._pass_on(line))
                continue
            line.woken = line.woken and slots <= 0
            begun = True
            self._begin_turn(line, slots)
        if begun and len(self._lines) > 1:
            self._lines.append(self._lines.pop(0))  # next time another domain comes first
        return begun

    async def settle(self) -> None:
        """Wait for the turns under way."""
        while self._tasks or self._under_way:
            if self._under_way:
                self._answered.clear()
                await self._answered.wait()
            if self._tasks:
                await asyncio.wait(set(self._tasks))
            await asyncio.sleep(0)

    async def leave(self) -> None:
        """Hand in and give back what is left, and leave the registry."""
        await self._children.settle()
        for line in self._lines:
            worker_id = self._worker_id()
            try:
                if line.unsure:
                    await give_back_strangers(self._engine, line, worker_id, self._logger)
                if line.ended:
                    await self._engine.finish(line.domain, worker_id, line.take_ended())
                if line.interrupted:
                    await self._engine.release(line.domain, worker_id, line.take_interrupted(), line.begun)
                await self._engine.retire(line.domain, worker_id)
            except _ERRORS as error:
                self._logger.warning("leaving %s: %s; the lease will end by itself", line.domain, error)

    def _launch(self, line: Line, turn: Coroutine[Any, Any, None]) -> None:
        line.turns += 1
        task = asyncio.get_running_loop().create_task(turn)
        self._tasks.add(task)
        task.add_done_callback(partial(self._over, line))

    def _free_slots(self, line: Line) -> int:
        if line.claims and not line.plenty:
            return 0  # one claim tells whether there is enough for two
        slots = self._slots
        at_once = -(-(slots.size + slots.lookahead.most) // self._in_flight)
        return min(slots.room - self._asked_for, at_once)

    def _begin_turn(self, line: Line, slots: int) -> None:
        """Its request is written here, not when its task begins: whoever waits for an answer waits for it."""
        self._asked_for += slots
        line.claims += slots > 0
        asked = ask(self._engine, line, self._worker_id(), slots)
        self._under_way += 1
        line.turns += 1
        tell = getattr(asked.answer, "tell", None)
        if tell is None or not tell(partial(self._told, line, asked)):
            self._await(line, asked)

    def _await(self, line: Line, asked: Asked) -> None:
        """In a task, as whatever may take several steps."""
        self._under_way -= 1
        self._answered.set()
        line.turns -= 1
        self._launch(line, self._turn(line, asked))

    def _told(self, line: Line, asked: Asked, answer: Any) -> None:
        """A usual answer is made use of at once, without a task that would first have to be woken.

        Not where an earlier one is still waited for: what was asked first is to start first.
        """
        accepted: list[bool] = []
        claim: Claim | None = None
        if answer is not None:
            accepted, claim = answer if asked.slots > 0 else (answer, None)
        other = claim is not None and claim.policy_version != self._engine.policy_version
        if answer is None or other or self._tasks:
            self._await(line, asked)
            return
        self._asked_for -= asked.slots
        if claim is not None:
            line.claims -= 1
            self._slots.lookahead.turned(asyncio.get_running_loop().time() - asked.at_s)
        ahead = self._use(line, asked, accepted, claim)
        self._under_way -= ahead
        if claim is None:
            self._ended(line, True)
        else:
            # What it brought begins before the turn counts as over: the next one hands in what ended by then.
            asyncio.get_running_loop().call_soon(self._ended, line, not ahead)

    def _ended(self, line: Line, was_under_way: bool) -> None:
        self._under_way -= was_under_way
        self._answered.set()
        line.turns -= 1
        self._nudge()

    async def _turn(self, line: Line, asked: Asked) -> None:
        slots = asked.slots
        claim: Claim | None = None
        try:
            if slots > 0:
                accepted, claim = await asked.answer
                self._slots.lookahead.turned(asyncio.get_running_loop().time() - asked.at_s)
                other = claim.policy_version != self._engine.policy_version
                if (other or self._following.locked()) and not claim.lost:
                    await self._follow(line.domain, claim.policy_version)
            else:
                accepted = await asked.answer
        except Exception as error:
            if asked.still(line, self._worker_id()):
                line.ended[:0] = asked.finishes  # handing in twice is harmless: the second time is refused
                if slots > 0:
                    doubt(line)
            await self._back_off(error)
            if not isinstance(error, _ERRORS):
                raise
            return
        finally:
            self._asked_for -= slots
            line.claims -= slots > 0
        if self._use(line, asked, accepted, claim):
            task = asyncio.current_task()
            if task is not None:
                self._tasks.discard(task)  # it is as good as over

    def _use(self, line: Line, asked: Asked, accepted: list[bool], claim: Claim | None) -> bool:
        """Start what an answer brought; whether the next turn may begin before that runs."""
        self._failures, ahead = 0, False
        try:
            self._note_refused(asked.finishes, accepted)
            self.progress += len(asked.finishes)
            if claim is not None and asked.still(line, self._worker_id()):
                if sum([len(claimed.payload) for claimed in claim.actions]) > LARGE_BYTES:
                    # Where answers are large the next turn is asked for alone, but before what this one
                    # brought runs.
                    ahead = self._large = True
                    self._nudge()
                elif claim.actions:
                    self._large = False
                self._start(line, claim, asked.slots, asked)
        except Exception:
            self._logger.exception("a turn broke off; this is a bug of nooble-tasks")
            line.unsure = True  # of what it brought a part may not run
        return ahead

    async def _follow(self, domain: str, version: int) -> None:
        """What was claimed under another policy also runs under it; not knowing it stops nobody. What was
        claimed later waits meanwhile, so as not to start earlier."""
        async with self._following:
            try:
                if version != self._engine.policy_version:
                    await self._follow_policy(domain, version)
            except _ERRORS as error:
                self._logger.warning("loading version %d of the policy: %s", version, error)

    async def _give_back(self, line: Line) -> None:
        """Release what was stopped or did not start: others run it, and no attempt is spent."""
        interrupted, worker_id = line.take_interrupted(), self._worker_id()
        try:
            await self._engine.release(line.domain, worker_id, interrupted, line.begun)
        except _ERRORS as error:
            if worker_id == self._worker_id():
                line.interrupted[:0] = interrupted
            await self._back_off(error)
            return
        self._failures = 0
        line.begun.difference_update(claimed.action_id for claimed in interrupted)
        line.look_again()  # who gives away does not count as asleep, and perhaps nobody else is there

    async def _pass_on(self, line: Line) -> None:
        """By the time it was woken other domains had taken its slots: somebody else may have one."""
        line.woken = False
        try:
            await roster.pass_on(self._engine, line.domain, self._worker_id())
        except _ERRORS as error:
            line.woken = True
            await self._back_off(error)
            return
        self._failures = 0

    async def _take_stock(self, line: Line) -> None:
        worker_id = self._worker_id()
        try:
            await give_back_strangers(self._engine, line, worker_id, self._logger)
        except _ERRORS as error:
            await self._back_off(error)
            return
        self._failures = 0
        if worker_id == self._worker_id():
            line.unsure = False
            line.claimable = True

    def _start(self, line: Line, claim: Claim, slots: int, asked: Asked) -> None:
        if claim.lost:
            self._on_lost(line.domain)
            return
        if line.returns != asked.returns:
            line.give_back(claim.actions)  # in its tenant's line it is behind what was given back meanwhile
        else:
            line.start(*claim.actions)
        self.progress += len(claim.actions)
        line.plenty = claim.more or len(claim.actions) >= slots
        # A wake-up that came while the claim was under way may be about something the claim did not see.
        line.claimable = line.plenty or line.wakes != asked.wakes
        if not line.claimable:
            due_in_s = IDLE_CLAIM_S * random.uniform(0.8, 1.2)
            if claim.next_due_ms:
                due_in_s = min(due_in_s, max(claim.next_due_ms - self._clock.now_ms(), 0) / 1000)
            line.claim_in(due_in_s)

    def _note_refused(self, finishes: Sequence[Finish], accepted: Sequence[bool]) -> None:
        if all(accepted):
            return
        for finish, ok in zip(finishes, accepted, strict=True):
            if not ok:
                self._logger.warning(
                    "the outcome of %s (%s) was refused: this worker does not own it any more",
                    finish.action.action_id,
                    finish.outcome.value,
                )

    def _over(self, line: Line, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        line.turns -= 1
        if not task.cancelled() and task.exception() is not None:
            self._logger.error("a turn broke off; this is a bug of nooble-tasks", exc_info=task.exception())
        self._nudge()

    async def _back_off(self, error: Exception) -> None:
        delay = _BACKOFF_S[min(self._failures, len(_BACKOFF_S) - 1)] * random.uniform(0.5, 1.0)
        self._failures += 1
        self._logger.warning("Redis: %s; again in %.1f s", error, delay)
        await asyncio.sleep(delay)
