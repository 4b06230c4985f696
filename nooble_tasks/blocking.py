"""Lists that somebody waits on: pops that block, on a connection of their own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from .connections import blocking_twin
from .multiplexed import Multiplexed, multiplexed


class BlockingPops:
    """One reader's pops, blocking up to ``block_s`` seconds; to the server that the given client talks to.

    One pop at a time. After one that was cancelled or failed it can only be closed: the server may still hand
    an element to the connection it was made on.
    """

    def __init__(self, client: Any, block_s: float) -> None:
        self._block_s = block_s
        self._twin = blocking_twin(client, block_s)
        self._line = multiplexed(self._twin)

    async def pop(self, keys: Iterable[bytes]) -> Sequence[bytes] | None:
        """The list and the element that came first; None when none came in time."""
        popped: Sequence[bytes] | None = await self._line.execute_command("BLPOP", *keys, self._block_s)
        return popped

    async def more(self, keys: Sequence[bytes], most: int) -> list[Sequence[bytes]]:
        """What else is in each list by now, at most so many elements; does not wait."""
        pipeline = self._twin.pipeline(transaction=False)
        for key in keys:
            pipeline.lpop(key.decode(), most)
        return [popped or () for popped in await pipeline.execute()]

    async def close(self) -> None:
        """Close the connections; may be called again after it was cancelled."""
        if isinstance(self._line, Multiplexed):
            await self._line.disconnect()
        await self._twin.aclose(close_connection_pool=True)
