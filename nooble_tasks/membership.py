"""A worker's place among the workers: its id, its leases, its mailbox."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Callable, Sequence
from typing import Any

from redis.exceptions import RedisError

from ._engine import SchedulerError, maintenance, roster, scripts
from .bus import Bus
from .heartbeat import Heartbeat
from .ids import new_id
from .mailbox import Mailbox
from .phase import Phase
from .version import VERSION
from .watchdog import Watchdog

_log = logging.getLogger(__name__)
_AGAIN_S = 1.0
_SCRIPTS = ("extend", "claim", "finish", "release")


class Membership:
    """Registers a worker in its domains and keeps it registered.

    Every `join` takes a fresh id: one that lost its lease is never used again, so nothing it still says is
    believed. `deliver(domain, message)` gets messages and cancellations, `on_lost(domain)` a lease's end.
    """

    def __init__(
        self,
        bus: Bus,
        name: str,
        domains: Sequence[str],
        *,
        owns_something: Callable[[], bool],
        deliver: Callable[[str, str], None],
        on_lost: Callable[[str], None],
        about: Callable[[], dict[str, Any]],
    ) -> None:
        self._bus = bus
        self._name = name
        self._domains = tuple(domains)
        self._owns_something = owns_something
        self._deliver = deliver
        self._on_lost = on_lost
        self._about = about
        self._since_ms = 0
        self._announcing: asyncio.Task[None] | None = None
        self._again = False
        self._claims = True
        self._heartbeat: Heartbeat | None = None
        self._mailbox: Mailbox | None = None
        self._watchdog: Watchdog | None = None
        self.worker_id = self._new_id()
        for verb in _SCRIPTS:  # composed before anything runs: joining waits for Redis alone
            scripts.load(verb)

    async def join(self) -> None:
        """Register under a fresh id; raises RedisError."""
        await self.part()
        self.worker_id = self._new_id()
        engine, loop = self._bus.engine, asyncio.get_running_loop()
        await scripts.teach(engine.redis, _SCRIPTS)
        await self._bus.policies.join(self._domains, by=f"worker {self._name}")
        for domain in self._domains:
            await engine.extend(domain, self.worker_id, register=True)
        self._again = False
        await self._describe()

        def from_thread(call: Callable[..., None], *args: Any) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(call, *args)

        def lost(domain: str, worker_id: str = self.worker_id) -> None:
            if worker_id == self.worker_id:  # else a late word about a lease that has been given up already
                self._on_lost(domain)

        self._heartbeat = Heartbeat(
            engine,
            self.worker_id,
            self._domains,
            owns_something=self._owns_something,
            on_lost=lambda domain: from_thread(lost, domain),
            on_cancel=lambda domain, action_id: from_thread(self._deliver, domain, f"cancel {action_id}"),
            on_aside=lambda domain: from_thread(self._deliver, domain, "wake"),
        )
        self._mailbox = Mailbox(self._bus.redis, self._bus.keys, self.worker_id, self._domains, self._deliver)
        self._heartbeat.start()
        self._mailbox.start()
        self._watchdog = Watchdog(self._bus.settings.blocked_loop_s, self._heartbeat.step_aside)
        self._watchdog.start()
        self._begin_to_announce()  # what was said while Redis was told

    async def part(self) -> None:
        """Stop heartbeat and mailbox; the leases are left as they are."""
        announcing, self._announcing = self._announcing, None
        if announcing is not None:
            await maintenance.end_task(announcing)
        heartbeat, self._heartbeat = self._heartbeat, None
        mailbox, self._mailbox = self._mailbox, None
        if self._watchdog is not None:
            self._watchdog.stop()
        if heartbeat is not None:
            await asyncio.to_thread(heartbeat.stop)
        if mailbox is not None:
            await mailbox.stop()

    def announce(self, phase: Phase) -> None:
        """Tell Redis how far this worker is on its way out, and that it is not to be woken for work."""
        self._claims = phase.claims
        self._again = True
        self._begin_to_announce()

    def _begin_to_announce(self) -> None:
        if self._again and self._heartbeat is not None and self._announcing is None:
            self._announcing = asyncio.create_task(self._announce(), name="nooble-announce")

    async def _announce(self) -> None:
        try:
            while self._again:
                self._again = False
                try:
                    await self._describe()
                except (RedisError, OSError, SchedulerError) as error:
                    _log.warning(
                        "telling the state of %s: %s; again in %.1f s", self.worker_id, error, _AGAIN_S
                    )
                    self._again = True
                    await asyncio.sleep(_AGAIN_S)
        finally:
            if self._announcing is asyncio.current_task():
                self._announcing = None

    async def _describe(self) -> None:
        self._since_ms = self._since_ms or self._bus.clock.now_ms()
        about = {
            **self._about(),
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "version": VERSION,
            "since_ms": self._since_ms,
            "lease_ms": self._bus.engine.lease_ms,
        }
        for domain in self._domains:
            await roster.describe(self._bus.engine, domain, self.worker_id, about, claims=self._claims)

    def _new_id(self) -> str:
        return f"{self._name}.{new_id()[:8]}"
