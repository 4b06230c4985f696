"""The workers that run: what they do, and telling them to be quiet, to drain, to stop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from redis.exceptions import RedisError

from ._engine import ScriptError, WorkerStanding, roster
from .errors import did_you_mean
from .handle import unavailable
from .known_names import domains_there
from .lookup_errors import UnknownWorker

if TYPE_CHECKING:
    from .bus import Bus


class Workers:
    """The registered workers: `client.workers`.

    Commands name who gives them (`by`) and `why`, both are kept with the operators' other commands. They
    go to one worker, or to all of some domains (without any: of every domain), and return the ids of those
    that were told. UnknownWorker when there is no such worker, UnknownDomain when there is no such domain,
    QueueUnavailable when Redis does not answer.
    """

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def list(
        self, domains: Sequence[str] = (), *, shown: int = roster.RUNNING_SHOWN
    ) -> list[WorkerStanding]:
        """Who is registered, and up to `shown` of the actions that each runs; a worker of several domains
        stands in each."""
        try:
            await self._bus.ready()
            found: list[WorkerStanding] = []
            for domain in await self._where(domains):
                found += await roster.workers(self._bus.engine, domain, shown)
            return found
        except (RedisError, OSError, ScriptError) as error:
            raise unavailable(error) from error

    async def quiet(
        self, worker_id: str | None = None, *, domains: Sequence[str] = (), by: str, why: str = ""
    ) -> Sequence[str]:
        """Claim no more, but stay; what runs goes on."""
        return await self._tell("quiet", worker_id, domains, by, why)

    async def resume(
        self, worker_id: str | None = None, *, domains: Sequence[str] = (), by: str, why: str = ""
    ) -> Sequence[str]:
        """Claim again after `quiet`."""
        return await self._tell("resume", worker_id, domains, by, why)

    async def drain(
        self, worker_id: str | None = None, *, domains: Sequence[str] = (), by: str, why: str = ""
    ) -> Sequence[str]:
        """Claim no more, and end when everything that runs has ended."""
        return await self._tell("drain", worker_id, domains, by, why)

    async def stop(
        self, worker_id: str | None = None, *, domains: Sequence[str] = (), by: str, why: str = ""
    ) -> Sequence[str]:
        """End within the worker's grace (drain_timeout_s); what did not end by then is given back unspent."""
        return await self._tell("stop", worker_id, domains, by, why)

    async def _tell(
        self, message: str, worker_id: str | None, domains: Sequence[str], by: str, why: str
    ) -> Sequence[str]:
        told: dict[str, None] = {}
        try:
            await self._bus.ready()
            for domain in await self._where(domains):
                said = await roster.instruct(
                    self._bus.engine, domain, message, worker_id or "", by=by, why=why
                )
                told |= dict.fromkeys(said)
                if worker_id and said:
                    break  # one mailbox is enough
        except (RedisError, OSError, ScriptError) as error:
            raise unavailable(error) from error
        if worker_id and not told:
            known = [each.worker_id for each in await self.list(domains, shown=0)]
            raise UnknownWorker(
                f"no worker {worker_id!r} is registered{did_you_mean(worker_id, known)}; "
                "`nooble workers` lists them"
            )
        return [*told]

    async def _where(self, domains: Sequence[str]) -> Sequence[str]:
        return await domains_there(self._bus.engine, domains)
