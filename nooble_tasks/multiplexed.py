"""One connection for all scripts of a process, however many tasks call them.

redis-py lends a connection to one task at a time and guards every step of a call with a timeout of its own;
for a queue, whose calls are short and many, that costs more than the calls themselves (`benchmarks/`). Redis
answers in the order it was asked, so tasks can share a connection: requests are written as they come, each
reply goes to the request that has waited longest. Connecting, signing in, TLS and Sentinel stay with
redis-py: the connection is one of the client's own pool, held as long as it works.

Needs hiredis (extra `speed`); without it, and on a Cluster, scripts go through redis-py.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import socket
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from contextvars import Context, copy_context
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import InvalidResponse, ReadOnlyError, RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

try:
    import hiredis
    from redis._parsers.base import BaseParser
except ImportError:
    hiredis = None  # type: ignore[assignment]

_NEEDED_CONNECTIONS = 4

Command = Sequence[Any]


def packed(command: Command) -> bytes:
    """As it is sent: for a command that is sent again and again."""
    request: bytes = hiredis.pack_command(tuple(command))
    return request


def multiplexed(redis: Any) -> Any:
    """``redis`` with its scripts on a shared connection; ``redis`` itself where that cannot be."""
    pool = getattr(redis, "connection_pool", None)
    possible = (
        hiredis is not None
        and isinstance(redis, Redis)
        and pool is not None
        and pool.max_connections >= _NEEDED_CONNECTIONS
        and not pool.connection_kwargs.get("decode_responses")
        and pool.connection_kwargs.get("protocol") in (None, 2, "2")
    )
    return Multiplexed(redis) if possible else redis


class Multiplexed:
    """A client whose ``execute_command`` and ``execute_together`` share one connection.

    Raises what redis-py raises. A call that is cancelled leaves the connection as it is: its reply is thrown
    away when it comes. Silence for the client's ``socket_timeout`` while a reply is due breaks the
    connection, and every call that waits on it ends with TimeoutError. All else is the given client's.
    """

    def __init__(self, redis: Any) -> None:
        self._redis = redis
        self._timeout_s: float | None = redis.connection_pool.connection_kwargs.get("socket_timeout")
        self._line: _Line | None = None
        self._connection: Any = None
        self._connecting = asyncio.Lock()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._redis, name)

    async def execute_command(self, *command: Any) -> Any:
        """One command; raises its error."""
        line = self._line
        if line is None or line.broken:
            line = await self._connect()
        reply = await line.ask_one(command)
        if isinstance(reply, Exception):
            raise reply
        return reply

    async def execute_together(self, commands: Sequence[Command]) -> list[Any]:
        """Several commands in one write; replies in order, errors among them as values.

        Who asked first goes on first, however many commands it sent.
        """
        line = self._line
        if line is None or line.broken:
            line = await self._connect()
        return await line.ask(commands)

    def ask(self, commands: Sequence[Command]) -> Asked | None:
        """Like `execute_together`, but written now, not when somebody awaits it; None while not connected."""
        line = self._line
        return None if line is None or line.broken else line.ask(commands)

    def ask_again(self, request: bytes) -> Asked | None:
        """`ask` of one command that is `packed`."""
        line = self._line
        return None if line is None or line.broken else line.ask_again(request)

    async def disconnect(self) -> None:
        """Close the shared connection; the next call opens one."""
        async with self._connecting:
            await self._give_back()

    async def _connect(self) -> _Line:
        async with self._connecting:
            if self._line is not None and not self._line.broken:
                return self._line
            await self._give_back()
            self._connection = await _from_pool(self._redis.connection_pool)
            self._line = _Line(self._connection._writer.transport, self._timeout_s)
            return self._line

    async def _give_back(self) -> None:
        """The pool gets its connection back, closed."""
        connection, self._connection, self._line = self._connection, None, None
        if connection is None:
            return
        try:
            await connection.disconnect()
        except (RedisError, OSError):
            pass
        finally:
            try:
                await self._redis.connection_pool.release(connection)
            except KeyError:  # the pool has been reset meanwhile and knows nothing of it
                pass


class Asked:
    """Requests under way: who awaits it gets the replies, errors among them as values.

    Or somebody is told as soon as they are there, before anybody is woken.
    """

    __slots__ = ("_awaited", "_context", "_count", "_error", "_loop", "_replies", "_told", "over")

    def __init__(self, count: int, loop: asyncio.AbstractEventLoop) -> None:
        self._count = count
        self._loop = loop
        self._replies: list[Any] = []
        self._told: Callable[[list[Any] | Exception], None] | None = None
        self._context: Context | None = None
        self._awaited: asyncio.Future[None] | None = None
        self._error: Exception | None = None
        self.over = count == 0

    def tell(self, told: Callable[[list[Any] | Exception], None]) -> None:
        """Call it with the replies as soon as all are there, or with why they will not come."""
        if self.over:
            told(self._replies if self._error is None else self._error)
        else:
            self._told, self._context = told, copy_context()

    def __await__(self) -> Generator[Any, None, list[Any]]:
        if self.over and self._count:
            yield from asyncio.sleep(0).__await__()  # who asked earlier is woken only now
        elif not self.over:
            awaited = self._awaited = self._loop.create_future()
            yield from awaited
        if self._error is not None:
            raise self._error
        return self._replies

    # What a line makes of it, as of a future of each reply.

    def done(self) -> bool:
        return self.over

    def set_result(self, reply: Any) -> None:
        self._replies.append(reply)
        if len(self._replies) == self._count:
            self._end(self._replies)

    def set_exception(self, error: Exception) -> None:
        self._error = error
        self._end(error)

    def _end(self, answer: list[Any] | Exception) -> None:
        self.over = True
        if self._awaited is not None and not self._awaited.done():
            self._awaited.set_result(None)
        told, self._told = self._told, None
        if told is None or self._context is None:
            return
        try:
            self._context.run(told, answer)  # not in that of whoever opened the connection
        except Exception as error:  # is no other request's business
            message = "who was told of replies failed; this is a bug of nooble-tasks"
            self._loop.call_exception_handler({"message": message, "exception": error})


async def _from_pool(pool: Any) -> Any:
    if "command_name" in inspect.signature(pool.get_connection).parameters and _needs_a_name(pool):
        return await pool.get_connection("_")
    return await pool.get_connection()


def _needs_a_name(pool: Any) -> bool:  # redis-py 5.2
    parameter = inspect.signature(pool.get_connection).parameters["command_name"]
    return parameter.default is inspect.Parameter.empty


def _plain_socket(transport: Any) -> socket.socket | None:
    """The transport's socket once more, where what is written to it is what the server reads."""
    own = transport.get_extra_info("socket")
    if own is None or transport.get_extra_info("sslcontext") is not None:
        return None
    plain = socket.socket(own.family, own.type, own.proto, os.dup(own.fileno()))
    plain.setblocking(False)
    return plain


class _Line(asyncio.Protocol):
    """A connected transport, taken over from redis-py's own protocol, and who waits for replies on it."""

    def __init__(self, transport: Any, timeout_s: float | None) -> None:
        self.broken = False
        self._transport = transport
        self._socket = _plain_socket(transport)
        self._timeout_s = timeout_s
        self._loop = asyncio.get_running_loop()
        self._parser = hiredis.Reader(protocolError=InvalidResponse, replyError=BaseParser.parse_error)
        self._waiting: deque[tuple[asyncio.Future[Any] | Asked, float]] = deque()
        self._heard_s = 0.0
        self._watch: asyncio.TimerHandle | None = None
        self._predecessor = transport.get_protocol()
        transport.set_protocol(self)

    def ask(self, commands: Sequence[Command]) -> Asked:
        """Write commands, whose replies are awaited together."""
        count = len(commands)
        if count == 1:
            return self.ask_again(hiredis.pack_command(tuple(commands[0])))
        asked = Asked(count, self._loop)
        requests = [hiredis.pack_command(tuple(command)) for command in commands]
        self._send(b"".join(requests), (asked,) * count)
        return asked

    def ask_again(self, request: bytes) -> Asked:
        """One command as it is sent."""
        asked = Asked(1, self._loop)
        self._send(request, (asked,))
        return asked

    def ask_one(self, command: tuple[Any, ...]) -> asyncio.Future[Any]:
        """The same of one command."""
        request = hiredis.pack_command(command)
        future = self._loop.create_future()
        if self.broken or self._watch is None:
            self._send(request, (future,))
            return future
        self._waiting.append((future, self._loop.time()))
        self._write(request)
        return future

    def _send(self, request: bytes, futures: Iterable[asyncio.Future[Any] | Asked]) -> None:
        if self.broken:
            raise RedisConnectionError("the connection was closed")
        now_s = self._loop.time()
        for future in futures:
            self._waiting.append((future, now_s))
        if self._watch is None and self._timeout_s is not None:
            self._watch = self._loop.call_later(self._timeout_s, self._look_for_overdue)
        self._write(request)

    def _write(self, request: bytes) -> None:
        """At once where nothing waits to be written: an event loop may put off what it is given."""
        if self._socket is not None and self._transport.get_write_buffer_size() == 0:
            try:
                request = request[self._socket.send(request) :]
            except OSError:
                pass  # the transport finds out, and says so
            if not request:
                return
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._heard_s = self._loop.time()
        self._parser.feed(data)
        gets, waiting, refused = self._parser.gets, self._waiting, False
        try:
            while (reply := gets()) is not False:  # which says that there is no whole reply
                if type(reply) is hiredis.PushNotification:
                    continue  # RESP3, which redis-py 8 speaks unless told otherwise: nobody asked for it
                future, _ = waiting.popleft()
                if not future.done():
                    future.set_result(reply)
                if type(reply) is ReadOnlyError:
                    refused = True
        except (RedisError, IndexError) as error:
            self._break(RedisConnectionError(f"the server said what nobody asked for: {error}"))
        if refused:  # the next call connects anew, to whoever is the primary by then
            self._break(RedisConnectionError("the server has become a replica"))

    def connection_lost(self, error: Exception | None) -> None:
        self._break(RedisConnectionError(f"Connection closed by server: {error or 'end of file'}"))
        self._predecessor.connection_lost(error)  # redis-py waits for it when it closes

    def eof_received(self) -> None:
        return None  # so the transport closes itself

    def pause_writing(self) -> None:
        """The number of calls at once is bounded elsewhere; what they write fits into memory."""

    def resume_writing(self) -> None:
        """See `pause_writing`."""

    def _look_for_overdue(self) -> None:
        self._watch = None
        if not self._waiting or self._timeout_s is None:
            return
        # A long reply comes in pieces, and not while a handler blocks the loop: silence is what is overdue.
        left_s = max(self._waiting[0][1], self._heard_s) + self._timeout_s - self._loop.time()
        if left_s > 0:
            self._watch = self._loop.call_later(left_s, self._look_for_overdue)
        else:
            self._break(RedisTimeoutError(f"no reply within {self._timeout_s:g} s"))

    def _break(self, error: Exception) -> None:
        if self.broken:
            return
        self.broken = True
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        waiting, self._waiting = self._waiting, deque()
        for future, _ in waiting:
            if not future.done():
                future.set_exception(error)
        self._transport.abort()
