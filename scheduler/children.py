"""What an action has sent, in all its attempts: kept under it in its domain until it ends.

To the engine a child is a line of text; what is in it is its caller's.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from . import scripts
from .engine import Engine

MOST = 10_000
"""Children of one action; of more, the newest are kept."""

_AT_ONCE = 500
_PAGE = 1_000


async def adopt(engine: Engine, domain: str, parent_id: str, children: Sequence[str]) -> bool:
    """Write down what is about to be sent; False when the parent is over."""
    script, root, written = scripts.load("adopt"), engine.keys.root(domain), 1
    for start in range(0, len(children), _AT_ONCE):
        args = [parent_id, MOST, *children[start : start + _AT_ONCE]]
        written = await scripts.run(engine.redis, script, root, args)
    return bool(written)


async def of(engine: Engine, domain: str, parent_id: str) -> AsyncIterator[list[str]]:
    """The children of an action that is alive, or was cancelled lately, page by page, the oldest first."""
    key = engine.keys.of("children", domain, parent_id)
    for start in range(0, MOST, _PAGE):
        page = await engine.redis.lrange(key, start, start + _PAGE - 1)
        if page:
            yield [line.decode() for line in page]
        if len(page) < _PAGE:
            return
