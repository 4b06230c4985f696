"""How a waiting caller gets its answer.

A worker stores the response in the action's response list and announces it on the notification list of the
client process. One reader per process blocks on that list, however many callers wait. The announcement is
only a hint: after a lost connection, and once before a caller is told that time is up, the response lists
themselves are read, and reading them destroys nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from contextvars import Context
from itertools import chain
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


Waiters = dict[str, list[asyncio.Future[bytes]]]
"""By the id of the action: a future of each caller, so that each may be cancelled."""


class ReplyListener:
    """Resolves one future per waiting caller. Start and stop by itself: it reads while somebody waits."""

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
        self._taken: tuple[str, list[str], bool] | None = None  # what the reader is to go on with

    def expect(self, domain: str, action_id: str) -> asyncio.Future[bytes]:
        """The future of a response's bytes; make it before sending, `forget` it when no longer waiting.

        Several callers may wait for one response: each has a future of its own.
        """
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(domain, {}).setdefault(action_id, []).append(future)
        if self._reader is None or self._reader.done():
            # In a context of its own: it outlives whoever waits first, perhaps the attempt of some tenant.
            self._reader = Context().run(asyncio.create_task, self._read(), name="nooble-replies")
        return future

    def forget(self, domain: str, action_id: str, future: asyncio.Future[bytes]) -> None:
        """This caller does not wait any more."""
        waiters = self._waiting.get(domain, {})
        futures = waiters.get(action_id, [])
        if future in futures:
            futures.remove(future)
            if not futures:
                del waiters[action_id]

    async def look(self, domain: str, action_id: str) -> bytes | None:
        """Read a response where it is stored, without waiting and without removing it."""
        async with self._calls:
            key = self._keys.response(domain, action_id)
            raw: bytes | None = await self._redis.execute_command("LINDEX", key, 0)
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
            for future in chain.from_iterable(waiters.values()):
                future.cancel()
        self._waiting.clear()
        await self._disconnect()

    async def _read(self) -> None:
        failures, look_first, answered = 0, False, False
        self._look_at = asyncio.get_running_loop().time() + BLOCK_S
        try:
            # Who has just been answered may ask again at once, so an answer is no reason to look who waits.
            while answered or await self._somebody_waits():
                try:
                    if look_first or asyncio.get_running_loop().time() >= self._look_at:
                        await self._look_at_all()
                        look_first = False
                    answered = await self._read_once()
                    failures = 0
                except (RedisError, OSError) as error:
                    delay = _RETRY_S[min(failures, len(_RETRY_S) - 1)]
                    failures += 1
                    _log.warning("waiting for responses: %s; again in %.2f s", error, delay)
                    await self._disconnect()
                    await asyncio.sleep(delay)
                    look_first, answered = True, False
        finally:
            await self._disconnect()

    async def _somebody_waits(self) -> bool:
        """False once the connection is closed and still nobody waits: who comes later starts a new reader."""
        if not self._anybody():
            await self._disconnect()
        return self._anybody()

    def _anybody(self) -> bool:
        return any(self._waiting.values())

    async def _read_once(self) -> bool:
        """Wait for announcements; whether there were any."""
        blocking = self._blocking
        if blocking is None:
            blocking = self._blocking = BlockingPops(self._redis, BLOCK_S)
        self._read_keys = {
            self._keys.notify(domain, self.client_id).encode(): domain for domain in self._waiting
        }
        await blocking.listen(self._read_keys, self._take)
        if self._taken is None:
            await self._look_at_all()
            return False
        domain, to_fetch, others = self._taken
        if to_fetch:
            await self._fetch(domain, to_fetch)
        else:
            await asyncio.sleep(0)  # who was answered goes on before the next wait is prepared
        if others:
            await self._drain(blocking)
        return True

    def _take(self, popped: Sequence[bytes] | None) -> bool:
        """Resolve what an announcement carries; whether that is all, and the reader goes on as it is."""
        if popped is None:
            self._taken = None
            return False
        domain = self._read_keys[popped[0]]
        to_fetch = self._announced(domain, (popped[1],))
        others = self._anybody_without_answer()
        self._taken = domain, to_fetch, others
        if to_fetch or others or len(self._waiting) != len(self._read_keys):
            return False
        return asyncio.get_running_loop().time() < self._look_at

    def _anybody_without_answer(self) -> bool:
        waiting = (futures for waiters in self._waiting.values() for futures in waiters.values())
        return any(not future.done() for future in chain.from_iterable(waiting))

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
            futures = waiters.get(action_id)
            if futures is None:
                continue
            if response:
                _resolve(futures, response)
            elif not all(future.done() for future in futures):
                to_fetch.append(action_id)
        return to_fetch

    async def _look_at_all(self) -> None:
        """Read the response lists of all who wait: what was not announced, or whose announcement was lost."""
        self._look_at = asyncio.get_running_loop().time() + BLOCK_S
        for domain, waiters in list(self._waiting.items()):
            ids = [
                action_id
                for action_id, futures in waiters.items()
                if not all(future.done() for future in futures)
            ]
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
            if raw is not None:
                _resolve(self._waiting.get(domain, {}).get(action_id, ()), raw)

    async def _disconnect(self) -> None:
        blocking = self._blocking
        self._read_keys = {}
        if blocking is not None:
            try:
                await blocking.close()
            except (RedisError, OSError):
                pass
            self._blocking = None  # only now: a cancelled attempt at closing is made again


def _resolve(futures: Iterable[asyncio.Future[bytes]], response: bytes) -> None:
    for future in futures:
        if not future.done():
            future.set_result(response)
