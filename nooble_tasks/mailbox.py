"""Messages to a worker: `wake` when there is work, `cancel <id>`, `quiet`, `stop`.

One blocking read on a connection of its own stands for all the polling a worker would otherwise do. A
message lost with a broken connection is made good: `cancel` by the heartbeat's reply, `wake` by the claim
that every reconnect and every long silence brings about.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

from redis.exceptions import RedisError

from ._engine import Keys, maintenance
from .blocking import BlockingPops

_log = logging.getLogger(__name__)

BLOCK_S = 6.0  # a connection that went dead without a word is given up some seconds later: within 10 in all


class Mailbox(maintenance.Loop):
    """Reads one worker's mailboxes and hands every message to ``deliver(domain, message)``."""

    name = "mailbox"

    def __init__(
        self,
        redis: Any,
        keys: Keys,
        worker_id: str,
        domains: Sequence[str],
        deliver: Callable[[str, str], None],
    ) -> None:
        super().__init__()
        self._redis = redis
        self._domain_of = {keys.mailbox(domain, worker_id).encode(): domain for domain in domains}
        self._deliver = deliver
        self._blocking: BlockingPops | None = None

    async def tick(self) -> float:
        """Hand over message after message; ends with the connection."""
        if self._blocking is None:
            self._blocking = BlockingPops(self._redis, BLOCK_S)
        try:
            await self._blocking.listen(self._domain_of, self._take)
        except (RedisError, OSError):
            await self._disconnect()
            for domain in self._domain_of.values():
                self._deliver(domain, "wake")  # whatever was announced meanwhile is found by claiming
            raise
        return 0.0

    def _take(self, popped: Sequence[bytes] | None) -> bool:
        if popped is not None:
            self._deliver(self._domain_of[popped[0]], popped[1].decode("utf-8", "replace"))
        return True

    async def stop(self) -> None:
        """Stop reading and close the connection."""
        await super().stop()
        await self._disconnect()

    async def _disconnect(self) -> None:
        blocking = self._blocking
        if blocking is not None:
            try:
                await blocking.close()
            except (RedisError, OSError):
                pass
            self._blocking = None  # only now: a cancelled attempt at closing is made again
