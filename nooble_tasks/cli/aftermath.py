"""After the death of a supervised process: what its workers held is taken back as soon as Redis answers."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

from redis.exceptions import RedisError

from nooble_tasks._engine import SchedulerError
from nooble_tasks.errors import NoobleError
from nooble_tasks.orphans import take_back_from_process
from nooble_tasks.settings import CommonAppSettings

from .connection import connected

_AGAIN_S = (0.05, 0.1, 0.2, 0.4)
_LEASES = 2.0
"""For so long it is tried: after that the lease has ended, and any worker has taken back what was held."""


class TakingBack:
    """Called with the process id of a child that died; True when its workers held something.

    Goes by the settings of the workers; what it has to tell goes to ``say``.
    """

    def __init__(self, settings: CommonAppSettings, say: Callable[[str], None]) -> None:
        self._settings = settings
        self._say = say

    async def __call__(self, pid: int) -> bool:
        loop = asyncio.get_running_loop()
        until_s = loop.time() + self._settings.lease_s * _LEASES
        failures = 0
        while not _runs(pid):  # else the system has given the number to another process meanwhile
            try:
                taken = await self._take_back(pid)
            except (NoobleError, SchedulerError, RedisError, OSError) as error:
                if loop.time() > until_s:
                    self._say(f"what process {pid} held comes back when its lease ends: {error}")
                    return False
                if not failures:
                    self._say(f"what process {pid} held is taken back as soon as possible; now: {error}")
                await asyncio.sleep(_AGAIN_S[min(failures, len(_AGAIN_S) - 1)])
                failures += 1
                continue
            if taken:
                self._say(f"took back {taken} actions that process {pid} held")
            return taken > 0
        return False

    async def _take_back(self, pid: int) -> int:
        async with connected(settings=self._settings) as client:
            return await take_back_from_process(client.bus.engine, pid)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
