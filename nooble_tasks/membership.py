"""A worker's place among the workers: its id, its leases, its mailbox."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from .bus import Bus
from .heartbeat import Heartbeat
from .ids import new_id
from .mailbox import Mailbox


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
    ) -> None:
        self._bus = bus
        self._name = name
        self._domains = tuple(domains)
        self._owns_something = owns_something
        self._deliver = deliver
        self._on_lost = on_lost
        self._heartbeat: Heartbeat | None = None
        self._mailbox: Mailbox | None = None
        self.worker_id = self._new_id()

    async def join(self) -> None:
        """Register under a fresh id; raises RedisError."""
        await self.part()
        self.worker_id = self._new_id()
        engine, loop = self._bus.engine, asyncio.get_running_loop()
        await self._bus.policies.join(self._domains, by=f"worker {self._name}")
        for domain in self._domains:
            await engine.extend(domain, self.worker_id, register=True)

        def from_thread(call: Callable[..., None], *args: Any) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(call, *args)

        self._heartbeat = Heartbeat(
            engine,
            self.worker_id,
            self._domains,
            owns_something=self._owns_something,
            on_lost=lambda domain: from_thread(self._on_lost, domain),
            on_cancel=lambda domain, action_id: from_thread(self._deliver, domain, f"cancel {action_id}"),
        )
        self._mailbox = Mailbox(self._bus.redis, self._bus.keys, self.worker_id, self._domains, self._deliver)
        self._heartbeat.start()
        self._mailbox.start()

    async def part(self) -> None:
        """Stop heartbeat and mailbox; the leases are left as they are."""
        heartbeat, self._heartbeat = self._heartbeat, None
        mailbox, self._mailbox = self._mailbox, None
        if heartbeat is not None:
            await asyncio.to_thread(heartbeat.stop)
        if mailbox is not None:
            await mailbox.stop()

    def _new_id(self) -> str:
        return f"{self._name}.{new_id()[:8]}"
