"""What any worker does in turn for everybody: promote what is due, reclaim what a dead worker held, prune, go
on with moves whose driver died."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from redis.exceptions import RedisError

from .batches import MAX_ITEMS
from .clock import ServerClock
from .dead_letters import PAGE, DeadLetters
from .emptying import go_on_emptying
from .engine import Engine
from .errors import SchedulerError
from .moving import Continuing
from .policy_store import PolicyStore
from .set_back import SetBack
from .vigil import Vigil

_log = logging.getLogger(__name__)

_INSIST_S = 0.5
_CALIBRATE_EVERY_S = 60.0
_LOOK_AT_TIME_EVERY_S = 60.0
_PRUNE_EVERY_S = 60.0
_FOLLOW_EVERY_S = 30.0
_GO_ON_EVERY_S = 30.0


async def end_task(task: asyncio.Task[Any]) -> None:
    """Cancel a task and wait until it has ended, however it ends.

    Once is not always enough: on Python 3.11 ``asyncio.wait_for``, through which redis-py sends when it has a
    socket timeout, can swallow a cancellation (cpython issue 86296, mended in 3.12).
    """
    while not task.done():
        task.cancel()
        await asyncio.wait((task,), timeout=_INSIST_S)


async def take_back(engine: Engine, domain: str, worker_id: str, lease_until_ms: int | None = None) -> int:
    """Take back everything that a worker known to be dead held; how many actions that were."""
    taken = 0
    while True:
        found = await engine.reclaim(domain, worker_id=worker_id, lease_until_ms=lease_until_ms)
        if not found.workers:
            return taken
        taken += found.actions


class Loop(ABC):
    """A background role: ``start``, ``stop``, and a ``tick`` that returns the seconds until the next one.

    Starting twice, stopping twice and stopping before starting are all fine. An error of Redis or of a
    script is logged and the next tick comes; anything else ends the loop and is raised by ``stop``.
    """

    name = "loop"
    after_error_s = 1.0

    def __init__(self) -> None:
        self._task: asyncio.Task[None] | None = None
        self._nudge = asyncio.Event()

    def start(self) -> None:
        """Begin ticking."""
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name=f"nooble-{self.name}")

    def nudge(self) -> None:
        """Tick now instead of later."""
        self._nudge.set()

    async def stop(self) -> None:
        """End; a tick in progress is cancelled."""
        task, self._task = self._task, None
        if task is not None:
            await end_task(task)
            if not task.cancelled():
                task.result()

    @abstractmethod
    async def tick(self) -> float:
        """One turn of work; returns the seconds until the next."""

    async def _run(self) -> None:
        while True:
            self._nudge.clear()  # before the tick: a nudge that comes meanwhile counts
            try:
                delay = await self.tick()
            except (RedisError, OSError, SchedulerError) as error:
                _log.warning("%s: %s; again in %.1f s", self.name, error, self.after_error_s)
                delay = self.after_error_s
            except Exception:  # a role that many rely on does not end unheard
                _log.exception("%s: a bug of nooble-tasks; again in %.1f s", self.name, self.after_error_s)
                delay = self.after_error_s
            if delay <= 0:
                await asyncio.sleep(0)
                continue
            try:
                await asyncio.wait_for(self._nudge.wait(), timeout=delay)
            except TimeoutError:
                pass


class Maintenance(Loop):
    """Promotes and reclaims, for some domains.

    ``every_s``: how often to look for dead workers, by default once per heartbeat. Workers wake up for due
    work by themselves, so promoting here is a safety net: when something is due, and every
    ``promote_every_s``. ``go_on``: goes on in a domain that has actions which were cancelled and have sent
    others; tells whether more is to be done at once. Rounds are spread at random so that many workers
    do not tick together.
    """

    name = "maintenance"

    def __init__(
        self,
        engine: Engine,
        domains: Sequence[str],
        *,
        policies: PolicyStore | None = None,
        every_s: float | None = None,
        promote_every_s: float = 60.0,
        steady_s: Callable[[], float] = time.monotonic,
        go_on: Callable[[str], Awaitable[bool]] | None = None,
    ) -> None:
        super().__init__()
        self._engine = engine
        self._go_on = go_on
        self._policies = policies or PolicyStore(engine)
        self._brought_up = 0
        self._every_s = engine.lease_ms / 3000 if every_s is None else every_s
        self._promote_every_s = promote_every_s
        self._steady_s = steady_s
        self._calibrate_at_s = steady_s() + _CALIBRATE_EVERY_S
        self._vigils = {domain: Vigil(engine, domain, steady_s=steady_s) for domain in domains}
        self._set_backs = [SetBack(engine, domain, steady_s=steady_s) for domain in domains]
        self._look_at_time_at_s = steady_s() + _LOOK_AT_TIME_EVERY_S * random.random()
        self._promote_at_ms = dict.fromkeys(domains, 0)
        self._follow_at_s = 0.0
        self._letters = DeadLetters(engine)
        self._prune_at_s = steady_s() + _PRUNE_EVERY_S * random.random()
        self._moves = {domain: Continuing(engine, domain) for domain in domains}
        self._go_on_at_s = steady_s() + _GO_ON_EVERY_S * random.random()

    async def tick(self) -> float:
        """One round over all domains."""
        await self._calibrate()
        await self._look_at_time()
        await self._follow_policy()
        delay_s = self._every_s * random.uniform(0.8, 1.0)
        for domain, vigil in self._vigils.items():
            await self._reclaim(domain, vigil)
            now_ms = self._engine.clock.now_ms()
            if now_ms >= self._promote_at_ms[domain]:
                self._promote_at_ms[domain] = await self._promote(domain)
            delay_s = min(delay_s, max(self._promote_at_ms[domain] - now_ms, 10) / 1000)
            if vigil.look_again_in_s is not None:
                delay_s = min(delay_s, max(vigil.look_again_in_s, 0.01))
        await self._prune()
        return 0.0 if await self._go_on_with_what_stands() else delay_s

    async def _go_on_with_what_stands(self) -> bool:
        """A tenant whose mover died would stay paused: any worker goes on with it, some steps per round. So
        it does with tiers that are gone, and with cancellations. Whether more is to be done at once."""
        if self._steady_s() < self._go_on_at_s:
            return False
        more = False
        for domain, moves in self._moves.items():
            moving, cancelling = await _unfinished(self._engine, domain)
            if moving:
                more |= await moves.round()
                more |= await go_on_emptying(self._engine, domain)
            if cancelling and self._go_on is not None:
                more |= await self._go_on(domain)
        if not more:
            self._go_on_at_s = self._steady_s() + _GO_ON_EVERY_S * random.uniform(0.8, 1.2)
        return more

    async def _prune(self) -> None:
        """Dead letters that are too old or too many go, a bounded number at a time."""
        if self._steady_s() < self._prune_at_s:
            return
        kept, gone = self._engine.retention, 0
        for domain in self._promote_at_ms:
            gone += await self._letters.prune(domain, keep=kept.letters, keep_ms=kept.letters_ms)
        # Where that was a full page there may be more.
        self._prune_at_s = self._steady_s() + (
            0 if gone >= PAGE else _PRUNE_EVERY_S * random.uniform(0.8, 1.2)
        )

    async def _follow_policy(self) -> None:
        """A publisher may have died on its way: the newest version gets to work in every domain, whoever
        told this process of it. Claims tell of a newer version at once; here is asked from time to time."""
        if self._steady_s() >= self._follow_at_s:
            await self._policies.catch_up()
            self._follow_at_s = self._steady_s() + _FOLLOW_EVERY_S * random.uniform(0.8, 1.0)
        if self._engine.policy_version != self._brought_up:
            await self._policies.bring_up(self._vigils)
            self._brought_up = self._engine.policy_version

    async def _calibrate(self) -> None:
        """Clocks drift apart: measure the distance to the server's again from time to time."""
        clock, now_s = self._engine.clock, self._steady_s()
        if isinstance(clock, ServerClock) and (now_s >= self._calibrate_at_s or clock.disturbed):
            if clock.calibrated:
                await clock.calibrate(self._engine.redis)
            self._calibrate_at_s = now_s + _CALIBRATE_EVERY_S

    async def _look_at_time(self) -> None:
        """A server's clock that was ahead has left traces."""
        if self._steady_s() >= self._look_at_time_at_s:
            self._look_at_time_at_s = self._steady_s() + _LOOK_AT_TIME_EVERY_S * random.uniform(0.8, 1.0)
            first, others = self._set_backs[:1], self._set_backs[1:]
            self._set_backs = others + first  # what breaks one keeps no other from its turn
            for each in self._set_backs:
                await each.look()

    async def _reclaim(self, domain: str, vigil: Vigil) -> None:
        for worker_id, lease_until_ms in await vigil.dead():
            taken = await take_back(self._engine, domain, worker_id, lease_until_ms)
            if taken:
                _log.warning("%s: took back %d actions of %s, which died", domain, taken, worker_id)

    async def _promote(self, domain: str) -> int:
        """Promote what is due; returns when to look again (epoch ms)."""
        promoted = await self._engine.promote(domain)
        while promoted.moved >= MAX_ITEMS:
            promoted = await self._engine.promote(domain)
        later_ms = self._engine.clock.now_ms() + int(self._promote_every_s * 1000)
        return min(promoted.next_due_ms, later_ms) if promoted.next_due_ms else later_ms


async def _unfinished(engine: Engine, domain: str) -> tuple[bool, bool]:
    """Whether a move is under way, and whether an action that was cancelled had sent others: one command."""
    moving, cancelled = engine.keys.of("moving", domain), engine.keys.of("cancelled_parents", domain)
    there = await engine.redis.exists(moving, cancelled, cancelled)
    return there % 2 == 1, there > 1
