"""Servers that tests of the connections run against, and small helpers for them."""

from __future__ import annotations

import asyncio
import inspect
import re
import socket
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import redis as redis_sync
import redis.asyncio as redis_asyncio
from redis.exceptions import RedisError

from nooble_tasks.embedded_binaries import choose_binary
from nooble_tasks.redis_manager import RedisManager
from nooble_tasks.settings import Settings


def manager_of(url: str, **settings: Any) -> RedisManager:
    return RedisManager(Settings(redis_url=url, **settings))


async def awaited(made: Any) -> Any:
    """redis-py annotates many results as `Awaitable | value`."""
    return await made if inspect.isawaitable(made) else made


async def pop_from(client: Any, name: str, timeout_s: float) -> Any:
    return await client.blpop([name], timeout=timeout_s)


async def client_names(redis: redis_asyncio.Redis) -> list[str]:
    return [each["name"] for each in await redis.client_list()]


async def until_blocked(redis: redis_asyncio.Redis, name: str) -> None:
    async with asyncio.timeout(5):
        while all(each["name"] != name or "b" not in each["flags"] for each in await redis.client_list()):
            pass


Reaction = Callable[[bytes], bytes | None]


def polite(chunk: bytes) -> bytes:
    """The shortest answer to each command of the chunk."""
    commands = len(re.findall(rb"(?:\A|\r\n)\*\d", chunk))
    return b"+PONG\r\n" if b"PING" in chunk else b"+OK\r\n" * commands


def hang_up_after(command: bytes) -> Reaction:
    return lambda chunk: b"" if command in chunk else polite(chunk)


def silent_after(command: bytes) -> Reaction:
    return lambda chunk: None if command in chunk else polite(chunk)


@asynccontextmanager
async def one_sided_server(react: Reaction) -> AsyncIterator[tuple[str, list[bytes]]]:
    """A server that answers what `react` says: b"" hangs up, None stays silent. Its URL and what it got."""
    received: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(65536):
            received.append(chunk)
            answer = react(chunk)
            if answer == b"":
                break
            if answer is not None:
                writer.write(answer)
        writer.close()
        await writer.wait_closed()
        finished.set()

    finished = asyncio.Event()
    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    try:
        yield f"redis://127.0.0.1:{port}", received
    finally:
        listener.close()
        async with asyncio.timeout(5):
            await finished.wait()


@contextmanager
def server(*options: str) -> Iterator[int]:
    """A bare server of the test's own on a free port; it keeps nothing."""
    with tempfile.TemporaryDirectory() as folder, running("--dir", folder, "--save", "", *options) as port:
        yield port


@contextmanager
def sentinel(master: int) -> Iterator[int]:
    """A sentinel that watches the server on port `master` as `main`."""
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "sentinel.conf"
        config.write_text(f"dir {folder}\nsentinel monitor main 127.0.0.1 {master} 1\n")
        with running(str(config), "--sentinel") as port:
            yield port


@contextmanager
def running(*arguments: str) -> Iterator[int]:
    port = free_port()
    command = [str(choose_binary().path), *arguments, "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            with redis_sync.Redis(port=port, protocol=2) as client:
                wait_for(client.ping)
            yield port
        finally:
            process.terminate()
            process.wait(10)


def free_port() -> int:
    """A port that a cluster node can use as well: its bus listens 10,000 above."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        if port < 55_000:
            return port


def wait_for(ready: Callable[[], object]) -> None:
    deadline = time.monotonic() + 15
    while True:
        try:
            if ready():
                return
        except RedisError:
            pass
        assert time.monotonic() < deadline, "the server did not get ready"
        time.sleep(0.02)  # a server that starts gives no signal
