"""What a worker owns by the server's records and does not know of: a claim took it whose answer got lost."""

from __future__ import annotations

import logging

from ._engine import Claimed, Engine
from .line import Line


async def give_back_strangers(engine: Engine, line: Line, worker_id: str, logger: logging.Logger) -> None:
    """Nobody here would run them."""
    records = await engine.redis.hgetall(engine.keys.of("owned", line.domain, worker_id))
    owned = [_to_release(action_id, record) for action_id, record in records.items()]
    strangers = [each for each in owned if not line.knows(each.action_id, each.token)]
    if strangers:
        await engine.release(line.domain, worker_id, strangers)
        logger.warning("gave back %d actions of a claim without an answer", len(strangers))


def _to_release(action_id: bytes, record: bytes) -> Claimed:
    """An owned action as far as `release` needs it: its id and the token of its claim."""
    token = int(record.split(b" ", 1)[0])
    return Claimed(action_id.decode(), "", "", "", b"", 0, token, 0, 0, 0, "", "", False)
