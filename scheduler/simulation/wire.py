"""The connection of all simulated workers: what the engine sends, and what came of it for others.

With every call goes a look at who sleeps and at the events, so that a wake-up and a hold are seen at the
moment they happen, for one round trip.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

from ..keys import Keys


class Hold(NamedTuple):
    """The engine holds a tenant: ``free_at_ms`` is the epoch time, or infinity."""

    scope: str
    at_ms: int
    free_at_ms: float
    why: str


class Wire:
    """As much of a redis client as an engine needs, in front of a real one.

    ``asleep``: the workers that the engine knows as sleepers, kept by the caller.
    """

    def __init__(self, redis: Any, keys: Keys, domain: str, asleep: Collection[str]) -> None:
        self._redis = redis
        self._asleep = asleep
        self._sleepers = keys.of("sleepers", domain)
        self._events = keys.of("events", domain)
        self._last_event = b"-"
        self._sleeping: set[bytes] = set()
        self._holds: list[Hold] = []

    async def execute_command(self, *command: Any) -> Any:
        """One command."""
        [reply] = await self.execute_together([command])
        if isinstance(reply, Exception):
            raise reply
        return reply

    async def execute_together(self, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Several in one round trip; errors are among the replies."""
        look = (("ZRANGE", self._sleepers, 0, -1), ("XRANGE", self._events, self._last_event, "+"))
        *replies, sleeping, events = await self._send([*commands, *look])
        self._sleeping = set(sleeping)
        self._read(events)
        return replies

    def take_holds(self) -> list[Hold]:
        """What was held since the last time."""
        holds, self._holds = self._holds, []
        return holds

    def woken(self) -> list[str]:
        """Sleepers that the engine has woken: it takes them off its list when it writes to their mailbox."""
        if len(self._sleeping) >= len(self._asleep):
            return []
        return sorted(name for name in self._asleep if name.encode() not in self._sleeping)

    async def _send(self, commands: list[tuple[Any, ...]]) -> list[Any]:
        if hasattr(self._redis, "execute_together"):
            return list(await self._redis.execute_together(commands))
        pipeline = self._redis.pipeline(transaction=False)
        for command in commands:
            pipeline.execute_command(*command)
        pipeline.response_callbacks = {}  # replies as the server gives them
        return list(await pipeline.execute(raise_on_error=False))

    def _read(self, events: Sequence[tuple[bytes, Sequence[bytes]]]) -> None:
        for entry, (_, lines) in events:
            self._last_event = b"(" + entry
            for line in lines.decode().split("\n"):
                if line.startswith("hold "):
                    _, at_ms, scope, free_at_ms, why = line.split(" ", 4)
                    self._holds.append(Hold(scope, int(at_ms), float(free_at_ms), why))
