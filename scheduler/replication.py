"""Enqueues that wait for replicas: what they confirmed survives the loss of the master.

``WAIT`` counts the replicas that have everything this connection has written, so it travels in the same round
trip as the script. Redis notes its place in the replication stream after every command of a connection, reads
and refused duplicates included: an enqueue that is repeated with the same id confirms the first one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from redis.exceptions import NoScriptError, ResponseError

from . import scripts
from .errors import SchedulerError
from .model import Enqueued


class Replication(NamedTuple):
    """Wait for ``replicas`` replicas, at most ``timeout_ms`` per call."""

    replicas: int
    timeout_ms: int


class UnconfirmedError(SchedulerError):
    """``enqueued`` is in line, but only ``replicas`` of the ``wanted`` replicas have it."""

    def __init__(self, replicas: int, wanted: int, enqueued: Sequence[Enqueued] = ()) -> None:
        super().__init__(f"enqueue: {replicas} of {wanted} replicas confirmed it")
        self.replicas = replicas
        self.wanted = wanted
        self.enqueued = list(enqueued)

    def about(self, enqueued: Sequence[Enqueued]) -> UnconfirmedError:
        """The same of these actions."""
        return UnconfirmedError(self.replicas, self.wanted, enqueued)


async def run_confirmed(
    redis: Any,
    calls: Sequence[scripts.Call],
    wanted: Replication | None,
) -> tuple[list[Any], UnconfirmedError | None]:
    """The replies to ``calls``; and the doubt, when fewer replicas than ``wanted`` have what they wrote."""
    if wanted is None or not calls:
        return await scripts.run_all(redis, calls), None
    replies, confirmed = await _run_and_wait(redis, calls, wanted)
    if confirmed >= wanted.replicas:
        return replies, None
    return replies, UnconfirmedError(confirmed, wanted.replicas)


async def _run_and_wait(
    redis: Any, calls: Sequence[scripts.Call], wanted: Replication
) -> tuple[list[Any], int]:
    # A pipeline has a connection to itself: WAIT would hold up whoever else speaks on it.
    pipeline = redis.pipeline(transaction=False)
    for script, root, args in calls:
        pipeline.execute_command(*script.command(root, args))
    pipeline.execute_command("WAIT", wanted.replicas, wanted.timeout_ms)
    *replies, confirmed = await pipeline.execute(raise_on_error=False)
    late = False
    for index, reply in enumerate(replies):
        if isinstance(reply, NoScriptError):
            replies[index], late = await scripts.run(redis, *calls[index]), True
        elif isinstance(reply, ResponseError):
            raise scripts.explained(calls[index][0], reply) from reply
        elif isinstance(reply, Exception):
            raise reply
    if late:  # written after the WAIT; a connection's place is behind that once it has spoken
        pipeline = redis.pipeline(transaction=False)
        pipeline.execute_command("ECHO", "x")
        pipeline.execute_command("WAIT", wanted.replicas, wanted.timeout_ms)
        _, confirmed = await pipeline.execute()
    if isinstance(confirmed, Exception):
        raise confirmed
    return replies, int(confirmed)
