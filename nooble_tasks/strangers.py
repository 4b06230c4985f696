"""What a worker owns by the server's records and does not know of: a claim took it whose answer got lost."""

from __future__ import annotations

import asyncio
import logging

from ._engine import Claimed, Engine
from .line import Line

LATER_S = (30.0, 150.0)
"""A request that is stuck on its way, in a network that is cut or in a proxy, may still arrive when its
connection has long been given up: about so long does a system go on sending what is left of one."""


def doubt(line: Line) -> None:
    """The answer to a claim got lost: stock is to be taken at once, and again later."""
    if not line.unsure:
        for delay_s in LATER_S:
            asyncio.get_running_loop().call_later(delay_s, _doubt_again, line)
    line.unsure = True


def _doubt_again(line: Line) -> None:
    line.unsure = True
    line.look_again()


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
