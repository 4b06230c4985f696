"""``python -m benchmarks.rivals NAME ROLE ORDER``: a rival's process, in its own environment.

``ORDER`` is JSON; what a role measured is one line of JSON. A process ends when its standard input does: no
worker outlives the benchmark.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.metadata
import json
import os
import resource
import sys
import threading
import time
from typing import Any

from .peer import BATCH, PLAIN_TEXT, TEXT, Order, Peer, Tasks

_go = threading.Event()


def cpu_s() -> float:
    """CPU seconds this process has used."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def drain(peer: Peer, order: Order) -> dict[str, float]:
    """Enqueue in bulk, then work until the last result is stored; then some one by one."""
    text = TEXT.get(order.kind, PLAIN_TEXT)
    started = time.perf_counter()
    lists = iter(range(0, order.count, BATCH))

    async def send_lists() -> None:
        for first in lists:
            await peer.send_many(order.kind, [text] * min(BATCH, order.count - first), 1)

    await asyncio.gather(*(send_lists() for _ in range(peer.lists_at_once)))
    bulk = order.count / (time.perf_counter() - started)
    started, cpu = time.perf_counter(), cpu_s()
    await peer.start()
    if not await asyncio.to_thread(peer.tasks.done.wait, order.within_s):
        raise TimeoutError(f"not {order.count} tasks within {order.within_s:.0f} s")
    while await peer.left(order.count):  # noqa: ASYNC110 - the last results; no rival tells
        await asyncio.sleep(0.002)
    return {
        "bulk_per_s": bulk,
        "per_s": order.count / (time.perf_counter() - started),
        "worker_us": (cpu_s() - cpu) / order.count * 1e6,
    }


async def one_by_one(peer: Peer, order: Order) -> dict[str, float]:
    """Enqueue one after another."""
    started, cpu = time.perf_counter(), cpu_s()
    for _ in range(order.count):
        await peer.send(order.kind, PLAIN_TEXT)
    elapsed = time.perf_counter() - started
    return {"one_by_one_per_s": order.count / elapsed, "client_us": (cpu_s() - cpu) / order.count * 1e6}


async def call(peer: Peer, order: Order) -> dict[str, float]:
    """Round trips of single calls, as many as there is time for."""
    for _ in range(3):
        await peer.call("noop", PLAIN_TEXT)
    times: list[float] = []
    until = time.perf_counter() + order.within_s
    while len(times) < order.count and time.perf_counter() < until:
        started = time.perf_counter()
        await peer.call("noop", PLAIN_TEXT)
        times.append((time.perf_counter() - started) * 1000)
    times.sort()
    return {
        "call_p50_ms": times[len(times) // 2],
        "call_p99_ms": times[int(len(times) * 0.99)],
        "calls": len(times),
    }


async def send(peer: Peer, order: Order) -> dict[str, float]:
    """Once told so, enqueue ``count`` actions of each tenant, tenant after tenant."""
    print("ready", flush=True)
    await asyncio.to_thread(_go.wait)
    for tenant in range(order.tenants):
        for first in range(0, order.count, BATCH):
            numbers = range(first, min(first + BATCH, order.count))
            texts = [f"{order.tag}{tenant}.{n} {time.time()}" for n in numbers]
            await peer.send_many(order.kind, texts, first + 1)
    return {}


async def work(peer: Peer, order: Order) -> dict[str, float]:
    """Once told so, work until the process is ended."""
    print("ready", flush=True)
    await asyncio.to_thread(_go.wait)
    await peer.start()
    print("working", flush=True)
    await asyncio.Event().wait()
    return {}


def _obey() -> None:
    for line in sys.stdin:
        if line.strip() == "go":
            _go.set()
    os._exit(3)


async def main(name: str, role: str, text: str) -> None:
    """Do one role."""
    order = Order(**json.loads(text))
    found = importlib.import_module(f"{__package__}.peer_{name}")
    kind: type[Peer] = found.Rival
    if role == "about":
        version = importlib.metadata.version(kind.package)
        said: Any = {"version": version, "best": kind.about, "ranks": kind.ranks, "tuned": kind.tuned}
    else:
        peer = kind(order, Tasks(order))
        await peer.open()
        roles = {one.__name__: one for one in (drain, one_by_one, call, send, work)}
        said = await roles[role](peer, order)
    print(json.dumps(said), flush=True)
    os._exit(0)  # threads of a rival that does not end are not what is measured


if __name__ == "__main__":
    threading.Thread(target=_obey, daemon=True).start()
    try:
        import uvloop

        run: Any = uvloop.run
    except ImportError:
        run = asyncio.run
    try:
        run(main(*sys.argv[1:]))
    except BaseException as error:  # a thread of its own must not keep a failed role alive
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        os._exit(1)
