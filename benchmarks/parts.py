"""Where the time of a send goes: making the model, preparing it, the engine, the connection, the script.

``python -m benchmarks.parts URL`` prints one line of JSON. The client's parts are timed with a stand-in for
the connection that answers at once; the least of many short rounds is taken, for it is what the code costs
when nothing else runs.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

from nooble_tasks import BaseRedisClient, RedisManager

from .loop import cpu_s, obey, run, say
from .ours import Order, _actions, settings

ROUNDS, SENDS, BATCH = 60, 100, 100

LEGEND = (
    f"microseconds per action, least of {ROUNDS} rounds; one: sent one by one, bulk: {BATCH} per call, bare: "
    "XADD of the same bytes; script: what it takes on the server; sending: all the client does but for the "
    "connection, of that preparing (of that json) and engine"
)


async def least(what: Callable[[], Awaitable[Any]], actions: int) -> float:
    """Microseconds per action of the quickest round."""
    best = float("inf")
    for _ in range(ROUNDS):
        started = time.perf_counter()
        await what()
        best = min(best, time.perf_counter() - started)
    return best / actions * 1e6


class Parts:
    """One client, whose parts are timed."""

    def __init__(self, client: BaseRedisClient, redis: Any, order: Order) -> None:
        self.client, self.redis = client, redis
        self.engine: Any = client.bus.engine
        self.order = order
        self.actions = self.make()
        self.payload = self.actions[0].to_json()

    def make(self) -> list[Any]:
        """New models."""
        return _actions(self.order, 0, SENDS)

    async def client_side(self) -> dict[str, float]:
        """With the connection's stand-in."""
        connection = self.engine.redis
        prepare: Any = self.client._prepare
        prepared = [prepare(action, reply_to="x" * 32) for action in self.actions]

        async def making() -> None:
            self.make()

        async def preparing() -> None:
            for action in self.actions:
                prepare(action, reply_to="x" * 32)

        async def writing() -> None:
            for action in self.actions:
                action.to_json()

        async def engine() -> None:
            for _, domain, new in prepared:
                await self.engine.enqueue_one(domain, new)

        async def bulk_engine() -> None:
            for at in range(0, SENDS, BATCH):
                await self.engine.enqueue(prepared[0][1], [new for _, _, new in prepared[at : at + BATCH]])

        try:
            self.engine.redis = Answering(connection, 1)
            parts = {
                "making": await least(making, SENDS),
                "one_sending": await least(self.one_by_one, SENDS),
                "preparing": await least(preparing, SENDS),
                "json": await least(writing, SENDS),
                "one_engine": await least(engine, SENDS),
            }
            self.engine.redis = Answering(connection, [1] * BATCH)
            parts["bulk_sending"] = await least(self.bulk, SENDS)
            parts["bulk_engine"] = await least(bulk_engine, SENDS)
        finally:
            self.engine.redis = connection
        return parts

    async def one_by_one(self) -> None:
        """Each waits for the one before it."""
        for action in self.actions:
            await self.client.enqueue_action(action)

    async def bulk(self) -> None:
        """In calls of a hundred."""
        for at in range(0, SENDS, BATCH):
            await self.client.enqueue_actions(self.actions[at : at + BATCH])

    async def bare(self) -> None:
        """The same bytes by the client as it is, with no queue."""
        for _ in range(SENDS):
            await self.redis.xadd("bench-bare", {"data": self.payload})

    async def whole(self, name: str, send: Callable[[], Awaitable[None]]) -> dict[str, float]:
        """With models made anew for each round, so that none is a duplicate."""
        best = {
            f"{name}_wall": float("inf"),
            f"{name}_client_cpu": float("inf"),
            f"{name}_script": float("inf"),
        }
        for _ in range(ROUNDS):
            self.actions = self.make()
            await self.redis.config_resetstat()
            started, cpu = time.perf_counter(), cpu_s()
            await send()
            wall, used = time.perf_counter() - started, cpu_s() - cpu
            stats = await self.redis.info("commandstats")
            script = stats.get("cmdstat_evalsha", {"usec": 0})["usec"] / 1e6
            for what, seconds in (("wall", wall), ("client_cpu", used), ("script", script)):
                best[f"{name}_{what}"] = min(best[f"{name}_{what}"], seconds / SENDS * 1e6)
        return best


class Answering:
    """In place of a connection: the same answer to every script, at once."""

    def __init__(self, connection: Any, answer: Any) -> None:
        self._connection = connection
        self._answer = answer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    async def execute_command(self, *command: Any) -> Any:
        """The answer."""
        return self._answer


async def main(url: str) -> dict[str, dict[str, float]]:
    """Client, then client and server."""
    order = Order(url)
    chosen = settings(order)
    async with RedisManager(chosen) as manager:
        client = BaseRedisClient("bench", manager.get_client(), chosen)
        parts = Parts(client, manager.get_client(), order)
        await client.enqueue_actions(_actions(order, 0, BATCH))  # streams, scripts, connections are there
        row = await parts.client_side()
        row |= await parts.whole("one", parts.one_by_one) | await parts.whole("bulk", parts.bulk)
        bare = await parts.whole("bare", parts.bare)
        row |= {"bare_wall": bare["bare_wall"], "bare_client_cpu": bare["bare_client_cpu"]}
        await client.close()
    return {name: {"us": value} for name, value in row.items()}


if __name__ == "__main__":
    obey()
    say(run(main(sys.argv[1])))
