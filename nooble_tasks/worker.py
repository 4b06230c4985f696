"""The worker: takes as many actions as it has free slots, runs them, hands in what ended.

One turn is one round trip: hand in what finished, claim as much as fits, start it. Where handlers are about
as short as turns that is slightly more than there are free slots (`lookahead.py`), else exactly as much.
A worker with nothing to claim sleeps on its mailbox until an enqueue wakes it or something held or scheduled
is due.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Any

from redis.exceptions import RedisError

from . import worker_signals
from ._engine import SchedulerError
from .about_worker import about_worker, handles_itself
from .actions import DomainAction
from .anteroom import Anteroom
from .bus import Bus
from .client import BaseRedisClient
from .cron import ServiceTicker
from .errors import ConfigurationError
from .executor import Executor
from .line import Line
from .logs import get_logger
from .membership import Membership
from .middleware import WorkerMiddleware
from .orphans import host_and_pid
from .phase import Phase
from .pools import Pools
from .rest import Rest
from .server_check import check_at_start
from .service import BaseService, by_domain, handling
from .settings import CommonAppSettings
from .slots import Slots
from .starting import insist
from .turns import Turns
from .upkeep import upkeep

_REJOIN_S = 1.0
_GIVE_UP_S = 4.0  # after the grace: so long may a handler clean up
_ERRORS = (RedisError, OSError, SchedulerError)


class BaseWorker:
    """Runs the actions of one service, or of several (one domain each), in this process.

    `concurrency` slots (default: the settings'); 1 runs one action at a time. `maintain=False` leaves
    promoting and reclaiming to others. `burst` ends `run` when nothing is left to do. `middleware` runs
    around every attempt, outside of the services' own.
    """

    def __init__(
        self,
        app_settings: CommonAppSettings,
        async_redis_conn: Any,
        service_instance: BaseService | Sequence[BaseService],
        consumer_id_suffix: str | None = None,
        *,
        concurrency: int | None = None,
        maintain: bool = True,
        burst: bool = False,
        middleware: Sequence[WorkerMiddleware] = (),
    ) -> None:
        services = [service_instance] if isinstance(service_instance, BaseService) else list(service_instance)
        if not services:
            raise ConfigurationError("a worker needs at least one service")
        if concurrency is not None and concurrency < 1:
            raise ConfigurationError(f"concurrency must be at least 1, not {concurrency}")
        self.app_settings = app_settings
        self.service_name = app_settings.service_name
        self.service = services[0]
        self.bus = Bus.of(async_redis_conn, app_settings)
        self.queue_manager = self.bus.queue_manager
        self.redis_client = BaseRedisClient(self.service_name, async_redis_conn, app_settings)
        self._logger: logging.Logger = get_logger(self.service_name)
        self._services = by_domain(services)
        self._middleware = tuple(middleware)
        self._opened = AsyncExitStack()
        self._pools = Pools(app_settings)
        most = math.inf if handles_itself(type(self)) else self._pools.most_at_once(services)
        # More slots would take from other workers what can only wait here.
        self.concurrency = int(min(concurrency or app_settings.concurrency, most))
        for service in services:
            service.use_pools(self._pools)
        self._slots = Slots(self.concurrency)
        self._pools.on_freed(self._slots.fill_from_inside)
        self._rest = Rest(self._usual_turns)
        self._lines = {domain: self._line(domain, service) for domain, service in self._services.items()}
        self._membership = self._member(consumer_id_suffix or host_and_pid())
        self._turns = self._taking_turns()
        self._maintenance = upkeep(self.bus, list(self._lines)) if maintain else None
        self._cron = ServiceTicker(self.bus, self._services, lambda: self.worker_id, fires=maintain)
        self._burst = burst
        self.phase = Phase(app_settings.drain_timeout_s, self._on_phase)
        self._rejoin = False
        self._ended = asyncio.Event()
        self._ended.set()

    def _line(self, domain: str, service: BaseService) -> Line:
        own = service is self.service and handles_itself(type(self))
        middleware = (*self._middleware, *service.middleware)
        handle = handling(service, middleware, self._handle_action if own else None)
        engine = self.bus.engine
        executor = Executor(
            service,
            handle,
            domain=domain,
            policy=lambda: engine.policy,
            clock=self.bus.clock,
            limits=self.app_settings.payload_limits,
            poison_deaths=self.app_settings.poison_deaths,
        )
        return Line(domain, executor, self._rest.nudge, self._slots, Anteroom(service, self.concurrency))

    def _member(self, suffix: str) -> Membership:
        return Membership(
            self.bus,
            self.queue_manager.get_consumer_name(self.service_name, suffix),
            list(self._lines),
            owns_something=lambda: not self._turns.idle,
            deliver=self._on_message,
            on_lost=self._on_lost,
            about=lambda: about_worker(self, self._services.values()),
        )

    def _taking_turns(self) -> Turns:
        return Turns(
            self.bus.engine,
            self._slots,
            follow=self.bus.policies.follow,
            worker_id=lambda: self.worker_id,
            nudge=self._rest.nudge,
            on_lost=self._on_lost,
            logger=self._logger,
        )

    # -- what a user calls ------------------------------------------------------------------------------

    async def run(self) -> None:
        """Work until stopped: by `stop`, a stop message or, in a burst, for lack of work."""
        self._ended.clear()
        try:
            if not await insist(self.bus.ready, self.phase, self._logger):
                return
            await check_at_start(self.bus.redis, self.app_settings, self._logger)
            for service in self._services.values():
                await service.start()
                await self._opened.enter_async_context(service.providing())
            await self._pools.warm(
                type(service).__module__
                for service in self._services.values()
                if service.has_handlers_in("process")
            )
            if not await insist(self._ensure_consumer_group_exists, self.phase, self._logger):
                return
            self._logger.info(
                "worker %s is ready for %s, %d slots",
                *(self.worker_id, ", ".join(self._lines), self.concurrency),
            )
            if self._maintenance is not None:
                self._maintenance.start()
            self._cron.start()
            await self._process_action_loop()
        finally:
            await self._leave()
            self._ended.set()

    async def stop(self, grace_s: float | None = None) -> None:
        """Claim no more, let running actions end within `grace_s` seconds (default: the settings'
        drain_timeout_s), give back what did not, unspent. Returns when `run` has ended."""
        self.phase.stop(grace_s)
        await self._ended.wait()

    async def drain(self) -> None:
        """Claim no more, let everything that runs end however long it takes. Returns when `run` has ended."""
        self.phase.drain()
        await self._ended.wait()

    def quiet(self) -> None:
        """Claim no more, and stay; what runs goes on."""
        self.phase.quiet()

    def resume(self) -> None:
        """Claim again after `quiet`."""
        self.phase.resume()

    def install_signal_handlers(self) -> None:
        """SIGTERM and SIGINT stop the worker, a second one at once; SIGUSR1: quiet, SIGUSR2: drain."""
        worker_signals.install(self.phase)

    @property
    def running(self) -> int:
        """How many actions run right now."""
        return self._slots.running

    @property
    def waiting(self) -> int:
        """How many claimed actions wait for a slot or for room for their handler."""
        return sum(line.waiting for line in self._lines.values())

    @property
    def domains(self) -> list[str]:
        """Whose actions it runs."""
        return list(self._lines)

    @property
    def progress(self) -> int:
        """How often attempts started or ended."""
        return self._turns.progress

    @property
    def overdue(self) -> int:
        """How many handlers run on though their time is up."""
        return sum(line.overdue for line in self._lines.values())

    @property
    def given_up(self) -> int:
        """How many handlers swallow every cancellation and still run, though their actions are over here."""
        return sum(not task.done() for line in self._lines.values() for task in line.given_up)

    @property
    def worker_id(self) -> str:
        """Under which id this worker is registered now."""
        return self._membership.worker_id

    # -- what a subclass may change ---------------------------------------------------------------------

    async def _handle_action(self, action: DomainAction) -> Any:
        """Process one action; by default the service does."""
        return await self.service.process_action(action)

    async def _ensure_consumer_group_exists(self) -> None:
        """Join the domains: take on the newest policy, register. Streams and groups come with their
        first action."""
        await self._membership.join()

    async def _process_action_loop(self) -> None:
        """Turn after turn, until told to leave and drained."""
        while True:
            if self._rejoin and not self.phase.leaving and not await self._join_again():
                continue
            if self.phase.leaving and await self._drained():
                return
            if self._turns.begin(quiet=not self.phase.claims):
                continue
            if self._burst and self._turns.idle and not any(line.claimable for line in self._lines.values()):
                self.phase.drain()
                continue
            stopping = self.phase.state == "stopping"
            await self._rest.wait(max(self.phase.left_s, 0.01) if stopping else None)

    def _usual_turns(self) -> bool:
        """Begin the turns that are due, where that is all there is to do; whether it was."""
        if self._rejoin or self.phase.leaving:
            return False
        return self._turns.begin_all(quiet=not self.phase.claims) or not self._burst

    # -- messages ---------------------------------------------------------------------------------------

    def _on_message(self, domain: str, message: str) -> None:
        line = self._lines[domain]
        verb, _, argument = message.partition(" ")
        match verb:
            case "wake" if not self.phase.claims:
                self._membership.announce(self.phase)  # it was woken in vain: another takes its place
            case "wake":
                line.wake()
                return
            case "cron":
                self._cron.nudge()
                return
            case "cancel":
                line.cancel(argument)
            case "quiet":
                self.phase.quiet()
            case "resume":
                self.phase.resume()
            case "drain":
                self.phase.drain()
            case "stop":
                self.phase.stop()
            case _:
                self._logger.warning("a message this version does not know: %r", message[:80])
        self._rest.end()

    def _on_lost(self, domain: str) -> None:
        """The lease ended: what runs belongs to others now and must not write anything."""
        self._logger.error("lost the lease in %s: %d actions are cancelled here", domain, self.running)
        for line in self._lines.values():
            line.abandon()
        self._rejoin = True
        self._rest.end()

    def _on_phase(self) -> None:
        self._logger.info("worker %s is %s", self.worker_id, self.phase.state)
        self._membership.announce(self.phase)
        for line in self._lines.values():
            if not self.phase.claims:
                line.give_back_waiting()
            line.wake()
        self._rest.end()

    # -- leaving ----------------------------------------------------------------------------------------

    async def _join_again(self) -> bool:
        """Come back under a fresh id after a lost lease; False when Redis did not answer."""
        try:
            await self._membership.join()
        except _ERRORS as error:
            self._logger.warning("joining again: %s; again in %.1f s", error, _REJOIN_S)
            await asyncio.sleep(_REJOIN_S)
            return False
        self._rejoin = False
        return True

    async def _drained(self) -> bool:
        if self._turns.idle:
            return True
        if self.phase.left_s > 0:
            return False
        if not self.running and self._turns.failing:
            return True  # Redis takes no outcome: the leases will end by themselves, others start over
        await self._interrupt()
        return False

    async def _interrupt(self) -> None:
        await asyncio.gather(*(line.interrupt(_GIVE_UP_S) for line in self._lines.values()))

    async def _leave(self) -> None:
        """Give back what did not end, leave the registry, close what was opened here."""
        if self._maintenance is not None:
            await self._maintenance.stop()
        await self._cron.stop()
        await self._turns.settle()
        await self._interrupt()
        await self._turns.leave()
        await self._membership.part()
        try:
            await self._opened.aclose()
        finally:
            for service in self._services.values():
                await service.stop()
        await self._pools.close()
