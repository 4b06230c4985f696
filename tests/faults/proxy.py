"""A TCP proxy of our own between clients and a Redis server, which does to their calls what a test says.

It understands just enough of the protocol to count requests and to match replies to them. A *call* is one
request, counted over all connections from 1 in the order of arrival.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self
from urllib.parse import urlparse

from tests.faults.resp import message_end, words_of

_CHUNK = 65_536


@dataclass(frozen=True)
class Call:
    """One request on its way to the server. ``words``: its command and first arguments."""

    number: int
    words: list[str]
    request: bytes


@dataclass(frozen=True)
class Treatment:
    """What happens to a call. Without anything: it passes.

    ``answer``: the server never sees it, this is the reply. ``drop``: the server never sees it, and the
    connection breaks. ``half``: the server gets half of it, then the connection breaks. ``mute``: the server
    executes it, the reply is lost and the connection breaks. ``and_then`` is called at that moment.
    """

    answer: bytes = b""
    drop: bool = False
    half: bool = False
    mute: bool = False
    and_then: Callable[[], None] | None = None


PASS = Treatment()
Decide = Callable[[Call], Treatment]
MOMENTS = ("before", "while", "after")


def treatment_at(moment: str, and_then: Callable[[], None]) -> Treatment:
    """The connection breaks before, while or after the server gets the call."""
    return Treatment(
        drop=moment == "before", half=moment == "while", mute=moment == "after", and_then=and_then
    )


class Proxy:
    """Listens on a free port of 127.0.0.1 while the block lasts. ``decide`` is asked about every call.

    ``swallow``: bytes are taken and never passed on, as by half-open links; ``half_open`` does that to some
    of the connections there are. ``delay_s`` before each piece, ``piece`` bytes at a time.
    """

    def __init__(self, server_url: str, decide: Decide | None = None) -> None:
        self.decide: Decide = decide or (lambda call: PASS)
        self.calls: list[list[str]] = []
        self.swallow = False
        self.delay_s = 0.0
        self.piece = _CHUNK
        self._server_url = urlparse(server_url)
        self._listener: asyncio.Server | None = None
        self._links: set[_Link] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._listener = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._listener is not None
        self._listener.close()
        self.cut()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def url(self) -> str:
        """What clients connect to."""
        assert self._listener is not None
        port = self._listener.sockets[0].getsockname()[1]
        return f"redis://127.0.0.1:{port}/0"

    def cut(self) -> None:
        """Break every connection."""
        for link in list(self._links):
            link.cut()

    def half_open(self, share: float, chance: random.Random) -> int:
        """From now on nothing passes through some of the connections there are, until their client gives
        them up; how many."""
        links = sorted(self._links, key=id)
        chosen = chance.sample(links, max(1, round(share * len(links)))) if links else []
        for link in chosen:
            link.dead = True
        return len(chosen)

    @property
    def connections(self) -> int:
        """How many there are now."""
        return len(self._links)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            server = self._server_url
            if server.scheme == "unix":
                upstream = await asyncio.open_unix_connection(server.path)
            else:
                upstream = await asyncio.open_connection(server.hostname, server.port)
        except OSError:  # the server is down: so is this
            writer.transport.abort()
            return
        link = _Link(self, (reader, writer), upstream)
        self._links.add(link)
        try:
            await link.run()
        finally:
            self._links.discard(link)


class _Link:
    """One client's connection and the one to the server that belongs to it."""

    def __init__(
        self,
        proxy: Proxy,
        client: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        server: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        self._proxy = proxy
        self._from_client, self._to_client = client
        self._from_server, self._to_server = server
        self.dead = False
        # Replies come in the order of requests: the treatments that wait for theirs.
        self._expected: deque[Treatment] = deque()

    async def run(self) -> None:
        ways = [asyncio.ensure_future(self._requests()), asyncio.ensure_future(self._replies())]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.cut()
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)

    def cut(self) -> None:
        for writer in (self._to_client, self._to_server):
            writer.transport.abort()

    async def _requests(self) -> None:
        buffer = bytearray()
        while chunk := await self._from_client.read(_CHUNK):
            if self._proxy.swallow or self.dead:
                continue
            buffer += chunk
            while (end := message_end(buffer) if buffer else None) is not None:
                request = bytes(buffer[:end])
                del buffer[:end]
                await self._request(request)

    async def _request(self, request: bytes) -> None:
        words = words_of(request)
        self._proxy.calls.append(words)
        treatment = self._proxy.decide(Call(len(self._proxy.calls), words, request))
        if treatment.drop or treatment.half:
            if treatment.half:
                self._to_server.write(request[: len(request) // 2])
                with contextlib.suppress(OSError):
                    await self._to_server.drain()
            self._break(treatment)
        if treatment.answer:
            self._expected.append(treatment)
            self._say_what_is_due()
            return
        self._expected.append(treatment)
        await self._pass_on(self._to_server, request)

    async def _replies(self) -> None:
        buffer = bytearray()
        while chunk := await self._from_server.read(_CHUNK):
            buffer += chunk
            while (end := message_end(buffer) if buffer else None) is not None:
                reply = bytes(buffer[:end])
                del buffer[:end]
                treatment = self._expected.popleft()
                if treatment.mute:
                    self._break(treatment)
                if not (self._proxy.swallow or self.dead):
                    await self._pass_on(self._to_client, reply)
                self._say_what_is_due()

    def _say_what_is_due(self) -> None:
        """Answers of our own whose turn it is: every earlier request has had its reply."""
        while self._expected and self._expected[0].answer:
            treatment = self._expected.popleft()
            if treatment.and_then is not None:
                treatment.and_then()
            self._to_client.write(treatment.answer)

    def _break(self, treatment: Treatment) -> None:
        if treatment.and_then is not None:
            treatment.and_then()
        self.cut()
        raise ConnectionResetError

    async def _pass_on(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        for start in range(0, len(data), self._proxy.piece):
            if self._proxy.delay_s:
                await asyncio.sleep(self._proxy.delay_s)
            writer.write(data[start : start + self._proxy.piece])
            await writer.drain()
