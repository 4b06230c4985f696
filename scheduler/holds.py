"""Looking again at who is held, after a limit was raised or removed."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from . import scripts

_AT_ONCE = 500


async def rehold(redis: Any, root: str, limits: Collection[str] = (), most: int = _AT_ONCE) -> int:
    """End the holds by ``limits`` (their names; all without any) in the domain of ``root``; how many ended.

    The next claims hold again whom something binds now. About ``most`` per script call.
    """
    script, cursor, ended = scripts.load("rehold"), b"0", 0
    while True:
        cursor, count = await scripts.run(redis, script, root, [cursor, most, *limits])
        ended += int(count)
        if cursor == b"0":
            return ended
