"""Lists that somebody waits on: pops that block, on a connection of their own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from .connections import blocking_twin
from .multiplexed import Multiplexed, multiplexed, packed

Take = Callable[[Sequence[bytes] | None], bool]
"""Gets what was popped, a list and its element, or None when none came in time; whether to go on."""


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

    async def listen(self, keys: Iterable[bytes], take: Take) -> None:
        """Pop one after the other while ``take`` says so of each: of a list and its element, or of None.

        What it sets off for the next round of the event loop is written before the next pop is: somebody
        may wait for it. Nobody is woken for an element but whom it concerns.
        """
        command = ("BLPOP", *keys, self._block_s)
        while True:
            if not take(await self._line.execute_command(*command)):
                return
            await asyncio.sleep(0)
            if isinstance(self._line, Multiplexed) and await _Listening(self._line, command, take).ended:
                return

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


class _Listening:
    """Pops on a shared connection. ``ended``: whether ``take`` said so, not that the connection has gone."""

    def __init__(self, line: Multiplexed, command: Sequence[Any], take: Take) -> None:
        self._line = line
        self._request = packed(command)
        self._take = take
        self._loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[bool] = self._loop.create_future()
        self._pop()

    def _pop(self) -> None:
        if self.ended.done():  # cancelled
            return
        asked = self._line.ask_again(self._request)
        if asked is None:  # whoever pops next connects, or says why that cannot be
            self.ended.set_result(False)
        else:
            asked.tell(self._popped)

    def _popped(self, replies: list[Any] | Exception) -> None:
        if self.ended.done():
            return
        popped = replies if isinstance(replies, Exception) else replies[0]
        try:
            if isinstance(popped, Exception):
                raise popped
            go_on = self._take(popped)
        except Exception as error:
            self.ended.set_exception(error)
            return
        if go_on:
            self._loop.call_soon(self._pop)  # after what it has set off for the next round
        else:
            self.ended.set_result(True)
