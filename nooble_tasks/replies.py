"""How a waiting caller gets its answer.

A worker stores the response in the action's response list and announces it on the notification list of the
client process. One reader per process blocks on that list, however many callers wait. The announcement is
only a hint: after a lost connection, and once before a caller is told that time is up, the response lists
themselves are read, and reading them destroys nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import Any

from redis.exceptions import RedisError

from ._engine import Keys, maintenance
from .blocking import BlockingPops
from .ids import new_id

_log = logging.getLogger(__name__)

BLOCK_S = 5.0  # how long one read blocks, and how often the response lists are looked at in between
DRAIN = 500  # announcements taken at once
_RETRY_S = (0.05, 0.1, 0.25, 0.5, 1.0)
_INTERRUPTION_TTL_MS = 60_000  # should the reader that it is meant for be gone


class Waiter:
    """A response that ``callers`` wait for."""

    __slots__ = ("callers", "future")

    def __init__(self) -> None:
        self.callers = 0
        self.future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()


Waiters = dict[str, Waiter]


class ReplyListener:
    """Resolves one future per awaited action. Start and stop by itself: it reads while somebody waits."""

    def __init__(
        self,
        redis: Any,
        keys: Keys,
        client_id: str | None = None,
        *,
        calls: asyncio.Semaphore | None = None,
    ) -> None:
        self.client_id = client_id or new_id()
        self._calls = calls or asyncio.Semaphore(32)
        self._redis = redis
        self._keys = keys
        self._waiting: dict[str, Waiters] = {}
        self._reader: asyncio.Task[None] | None = None
        self._blocking: BlockingPops | None = None
        self._read_keys: dict[bytes, str] = {}
        self._look_at = 0.0

    def expect(self, domain: str, action_id: str) -> asyncio.Future[bytes]:
        """The future of a response's bytes; make it before sending, `forget` it when no longer waiting.

        Several callers may wait for one response: each expects it and each forgets it.
        """
        waiters = self._waiting.setdefault(domain, {})
        waiter = waiters.get(action_id)
        if waiter is None:
            waiter = waiters[action_id] = Waiter()
        waiter.callers += 1
        if self._reader is None or self._reader.done():
            self._reader = asyncio.create_task(self._read(), name="nooble-replies")
        return waiter.future

    def forget(self, domain: str, action_id: str) -> None:
        """One caller does not wait for this response any more."""
        waiters = self._waiting.get(domain, {})
        waiter = waiters.get(action_id)
        if waiter is None:
            return
        waiter.callers -= 1
        if waiter.callers <= 0:
            del waiters[action_id]

    async def look(self, domain: str, action_id: str) -> bytes | None:
        """Read a response where it is stored, without waiting and without removing it."""
        async with self._calls:
            raw: bytes | None = await self._redis.lindex(self._keys.response(domain, action_id), 0)
        return raw

    async def interrupt(self, domain: str) -> None:
        """Make a reader that already blocks notice that there is a domain more to listen to."""
        known = next(iter(self._read_keys.values()), None)
        if known is not None and domain not in self._read_keys.values():
            pipeline = self._redis.pipeline(transaction=False)
            pipeline.rpush(self._keys.notify(known, self.client_id), b"")
            pipeline.pexpire(self._keys.notify(known, self.client_id), _INTERRUPTION_TTL_MS)
            await pipeline.execute()

    async def close(self) -> None:
        """Stop reading; whoever still waits is cancelled."""
        reader, self._reader = self._reader, None
        if reader is not None:
            await maintenance.end_task(reader)
        for waiters in self._waiting.values():
            for waiter in waiters.values():
                waiter.future.cancel()
        self._waiting.clear()
        await self._disconnect()

    async def _read(self) -> None:
        failures, look_first = 0, False
        self._look_at = asyncio.get_running_loop().time() + BLOCK_S
        try:
            while await self._somebody_waits():
                try:
                    if look_first or asyncio.get_running_loop().time() >= self._look_at:
                        await self._look_at_all()
                        look_first = False
                    await self._read_once()
                    failures = 0
                except (RedisError, OSError) as error:
                    delay = _RETRY_S[min(failures, len(_RETRY_S) - 1)]
                    failures += 1
                    _log.warning("waiting for responses: %s; again in %.2f s", error, delay)
                    await self._disconnect()
                    await asyncio.sleep(delay)
                    look_first = True
        finally:
            await self._disconnect()

    async def _somebody_waits(self) -> bool:
        """False once the connection is closed and still nobody waits: who comes later starts a new reader."""
        if not self._anybody():
            await self._disconnect()
        return self._anybody()

    def _anybody(self) -> bool:
        return any(self._waiting.values())

    async def _read_once(self) -> None:
        blocking = self._blocking
        if blocking is None:
            blocking = self._blocking = BlockingPops(self._redis, BLOCK_S)
        self._read_keys = {
            self._keys.notify(domain, self.client_id).encode(): domain for domain in self._waiting
        }
        popped = await blocking.pop(self._read_keys)
        if popped is None:
            await self._look_at_all()
            return
        domain = self._read_keys[popped[0]]
        await self._fetch(domain, self._announced(domain, [popped[1]]))
        if self._anybody_without_answer():
            await self._drain(blocking)

    def _anybody_without_answer(self) -> bool:
        waiting = (waiter for waiters in self._waiting.values() for waiter in waiters.values())
        return any(not waiter.future.done() for waiter in waiting)

    async def _drain(self, blocking: BlockingPops) -> None:
        keys = self._read_keys
        for domain, popped in zip(keys.values(), await blocking.more([*keys], DRAIN), strict=True):
            await self._fetch(domain, self._announced(domain, popped))

    def _announced(self, domain: str, announcements: Iterable[bytes]) -> list[str]:
        """Resolve what the announcements carry; returns the ids whose response has to be fetched."""
        waiters, to_fetch = self._waiting.get(domain, {}), []
        for raw in announcements:
            head, _, response = raw.partition(b"\n")
            action_id = head.decode("ascii", "replace")
            waiter = waiters.get(action_id)
            if waiter is None or waiter.future.done():
                continue
            if response:
                waiter.future.set_result(response)
            else:
                to_fetch.append(action_id)
        return to_fetch

    async def _look_at_all(self) -> None:
        """Read the response lists of all who wait: what was not announced, or whose announcement was lost."""
        self._look_at = asyncio.get_running_loop().time() + BLOCK_S
        for domain, waiters in list(self._waiting.items()):
            ids = [action_id for action_id, waiter in waiters.items() if not waiter.future.done()]
            for start in range(0, len(ids), DRAIN):
                await self._fetch(domain, ids[start : start + DRAIN])

    async def _fetch(self, domain: str, action_ids: Iterable[str]) -> None:
        ids = list(action_ids)
        if not ids:
            return
        pipeline = self._redis.pipeline(transaction=False)
        for action_id in ids:
            pipeline.lindex(self._keys.response(domain, action_id), 0)
        for action_id, raw in zip(ids, await pipeline.execute(), strict=True):
            waiter = self._waiting.get(domain, {}).get(action_id)
            if raw is not None and waiter is not None and not waiter.future.done():
                waiter.future.set_result(raw)

    async def _disconnect(self) -> None:
        blocking = self._blocking
        self._read_keys = {}
        if blocking is not None:
            try:
                await blocking.close()
            except (RedisError, OSError):
                pass
            self._blocking = None  # only now: a cancelled attempt at closing is made again
