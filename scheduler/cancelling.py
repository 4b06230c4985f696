"""Cancelling many: calls of bounded size, and owners looked up outside of the script.

Claiming does not write down per action who owns it: what it costs every action only a cancellation would use.
So the script answers ``whose`` for one that runs, the owners are asked here with small plain commands, and
the script is told; whether that still holds is checked there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from . import scripts

if TYPE_CHECKING:
    from .engine import Engine

AT_ONCE = 100
"""Items per script call: taking one out of its line is some 20 us of the server."""

NOBODY = "-"
"""No worker owned it when all were asked: the script is to look for itself."""

_WORKERS_AT_ONCE = 100
_FEW = 20
_TRIES = 3


async def cancel(engine: Engine, domain: str, items: Sequence[tuple[str, bytes]]) -> list[str]:
    """``Engine.cancel``."""
    said: list[str] = []
    for start in range(0, len(items), AT_ONCE):
        said += await _cancel(engine, domain, items[start : start + AT_ONCE])
    return said


async def _cancel(engine: Engine, domain: str, items: Sequence[tuple[str, bytes]]) -> list[str]:
    script, root = scripts.load("cancel"), engine.keys.root(domain)
    said, left = [""] * len(items), list(range(len(items)))
    owners: dict[str, str] = {}
    tries = 0
    while left:
        args = [engine.clock.now_ms(), engine.duplicate_window_ms, engine.response_ttl_ms]
        for n in left:
            args += (*items[n], owners.get(items[n][0], ""))  # type: ignore[arg-type]
        for n, each in zip(left, await scripts.run(engine.redis, script, root, args), strict=True):
            said[n] = each.decode()
        left = [n for n in left if said[n] == "whose"]
        tries += 1
        if left:
            ids = [items[n][0] for n in left]
            once_more = tries < _TRIES  # they may change hands again and again
            owners = await owners_of(engine, domain, ids) if once_more else {}
            owners = dict.fromkeys(ids, NOBODY) | owners
    return said


async def owners_of(engine: Engine, domain: str, action_ids: Sequence[str]) -> dict[str, str]:
    """Which worker owns which of these actions, asked worker by worker."""
    workers = await engine.redis.zrange(engine.keys.of("workers", domain), 0, -1)
    wanted, found = {*action_ids}, dict[str, str]()
    for start in range(0, len(workers), _WORKERS_AT_ONCE):
        some = [worker.decode() for worker in workers[start : start + _WORKERS_AT_ONCE]]
        pipeline = engine.redis.pipeline(transaction=False)
        for worker in some:
            owned = engine.keys.of("owned", domain, worker)
            if len(wanted) <= _FEW:
                pipeline.hmget(owned, action_ids)
            else:
                pipeline.hkeys(owned)
        for worker, reply in zip(some, await pipeline.execute(), strict=True):
            if len(wanted) <= _FEW:
                ids = [each for each, record in zip(action_ids, reply, strict=True) if record is not None]
            else:
                ids = [raw.decode() for raw in reply if raw.decode() in wanted]
            found |= dict.fromkeys(ids, worker)
    return found
