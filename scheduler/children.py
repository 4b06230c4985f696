"""What an action has sent, in all its attempts: kept under it in its domain until it ends.

Once it was cancelled, until its children have been reached: whoever cancels it does that, and may die over
it, so some seconds later any worker goes over them again, and then forgets them. To the engine a child is a
line of text; what is in it is its caller's.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Literal, cast

from . import scripts
from .engine import Engine

MOST = 10_000
"""Children of one action; of more, the newest are kept."""

_AT_ONCE = 500
_PAGE = 1_000
PARENTS_AT_ONCE = 20
_AGAIN_MS = 30_000

Adopted = Literal["written", "over", "cancelled"]


async def adopt(engine: Engine, domain: str, parent_id: str, children: Sequence[str]) -> Adopted:
    """Write down what is about to be sent, unless the parent is over; whether it was cancelled is known for a
    duplicate window."""
    script, root, said = scripts.load("adopt"), engine.keys.root(domain), b"written"
    for start in range(0, len(children), _AT_ONCE):
        args = [engine.clock.now_ms(), engine.duplicate_window_ms, parent_id, MOST]
        said = await scripts.run(engine.redis, script, root, [*args, *children[start : start + _AT_ONCE]])
    return cast("Adopted", said.decode())


async def of(engine: Engine, domain: str, parent_id: str) -> AsyncIterator[list[str]]:
    """The children of an action that is alive, or was cancelled lately, page by page, the oldest first."""
    key = engine.keys.of("children", domain, parent_id)
    for start in range(0, MOST, _PAGE):
        page = await engine.redis.lrange(key, start, start + _PAGE - 1)
        if page:
            yield [line.decode("utf-8", "replace") for line in page]
        if len(page) < _PAGE:
            return


async def unreached(engine: Engine, domain: str) -> list[str]:
    """Actions that were cancelled a while ago and whose children are to be gone over; the same ones again for
    somebody who asks later, unless they were ``reached``."""
    now_ms = engine.clock.now_ms()
    args = [now_ms, now_ms + _AGAIN_MS, PARENTS_AT_ONCE]
    ids = await scripts.run(engine.redis, scripts.load("unreached"), engine.keys.root(domain), args)
    return [each.decode() for each in ids]


async def reached(engine: Engine, domain: str, parent_id: str) -> None:
    """The children of a cancelled action have been cancelled: forget them."""
    await engine.redis.delete(engine.keys.of("children", domain, parent_id))
    await engine.redis.zrem(engine.keys.of("cancelled_parents", domain), parent_id)
