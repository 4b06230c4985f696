"""The server's side: commands and microseconds per verb, bytes per tenant, queued action and owned action.

Each verb is called with 100 actions of 100 tenants at a time, limits on, and enqueue, claim and finish also
with one; time is by hand. ``python -m benchmarks.verbs URL`` prints one line of JSON.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from redis.asyncio import Redis

from nooble_tasks._engine import Claim, Engine, Finish, ManualClock, NewAction, Outcome, Policy

from .loop import obey, run, say

CALLS, BATCH, TENANTS = 100, 100, 100
LONE_CALLS = 2_000
STORED = 10_000
_POLICY = Path(__file__).with_name("policy.toml")
_TIERS = ("enterprise", "professional", "advance", "free")
_PAYLOAD = b'{"x":"' + b"y" * 200 + b'"}'
_BY = {"fcall", "evalsha", "eval"}

LEGEND = (
    f"per action, in calls of {BATCH} (alone: of one): commands that a verb's script runs, microseconds of "
    "it on the server; "
    "bytes: of data that one more tenant (with one action), queued action, owned action takes"
)


class Meter:
    """Counts what the server does meanwhile."""

    def __init__(self, redis: Any) -> None:
        self.redis = redis
        self.rows: dict[str, dict[str, float]] = {}

    async def _stats(self) -> tuple[int, int]:
        stats = await self.redis.info("commandstats")
        calls = {name.removeprefix("cmdstat_"): one for name, one in stats.items()}
        inner = sum(int(one["calls"]) for name, one in calls.items() if name not in {*_BY, "info"})
        return inner, sum(int(calls[name]["usec"]) for name in _BY & calls.keys())

    @asynccontextmanager
    async def verb(self, name: str, actions: int) -> AsyncIterator[None]:
        """Add what the server does in the block to ``name``, as work of so many actions."""
        commands, us = await self._stats()
        yield
        after_commands, after_us = await self._stats()
        row = self.rows.setdefault(name, {"_actions": 0, "_commands": 0, "_us": 0})
        row["_actions"] += actions
        row["_commands"] += after_commands - commands
        row["_us"] += after_us - us

    def result(self) -> dict[str, dict[str, float]]:
        """Per action."""
        return {
            name: {
                "commands_per_action": row["_commands"] / row["_actions"],
                "us_per_action": row["_us"] / row["_actions"],
            }
            for name, row in self.rows.items()
        }


class Verbs:
    """One domain, in which each verb is called as often as the others, with ``batch`` actions."""

    def __init__(self, redis: Any, batch: int = BATCH) -> None:
        self.batch = batch
        self.clock = ManualClock()
        self.meter = Meter(redis)
        self.engine = Engine(redis, policy=Policy.load(_POLICY), clock=self.clock, lease_ms=3_600_000)
        self._numbers = itertools.count()

    def actions(self, due_ms: int = 0) -> list[NewAction]:
        """A call's worth."""
        return [
            NewAction(
                f"x{n}",
                "bench.noop",
                f"t{n % TENANTS}",
                _TIERS[n % TENANTS % 4],
                _PAYLOAD,
                due_ms=due_ms,
                reply_to="*",
            )
            for n in itertools.islice(self._numbers, self.batch)
        ]

    async def claim(self, worker: str) -> Claim:
        """A call's worth, at a time when no limit binds."""
        self.clock.advance(2_000)
        claim = await self.engine.claim("d", worker, self.batch)
        assert len(claim.actions) == self.batch
        return claim

    async def measured(self, name: str, call: Callable[[], Awaitable[Any]]) -> Any:
        """The reply; what the server did is counted."""
        async with self.meter.verb(name, self.batch):
            return await call()

    async def path(self) -> None:
        """What every action needs: enqueue, claim, finish."""
        engine, taken, new = self.engine, self.measured, self.actions()
        await taken("enqueue", lambda: engine.enqueue("d", new))
        held = (await taken("claim", lambda: self.claim("w"))).actions
        await taken(
            "finish",
            lambda: engine.finish("d", "w", [Finish(one, Outcome.COMPLETED, b'{"a":1}') for one in held]),
        )

    async def once(self) -> None:
        """Every verb."""
        engine, taken = self.engine, self.measured
        await self.path()
        await engine.enqueue("d", self.actions())
        claim = await self.claim("w")
        await taken("extend", lambda: engine.extend("d", "w"))
        await taken("release", lambda: engine.release("d", "w", claim.actions))
        again = (await self.claim("w")).actions
        await engine.finish("d", "w", [Finish(one, Outcome.COMPLETED, b"{}") for one in again])
        unwanted = self.actions()
        await engine.enqueue("d", unwanted)
        await taken("cancel", lambda: engine.cancel("d", [(one.action_id, b"{}") for one in unwanted]))
        await engine.enqueue("d", self.actions(due_ms=self.clock.now_ms() + 1_000))
        self.clock.advance(2_000)
        await taken("promote", lambda: engine.promote("d"))
        await engine.extend("d", "dead", register=True)
        await self.claim("dead")
        await taken("reclaim", lambda: engine.reclaim("d", worker_id="dead"))
        again = (await self.claim("w")).actions
        await engine.finish("d", "w", [Finish(one, Outcome.COMPLETED, b"{}") for one in again])


async def sizes(redis: Any) -> dict[str, dict[str, float]]:
    """Bytes of data: ten thousand actions of one tenant, of ten thousand, and of a worker."""
    engine = Engine(redis, policy=Policy.load(_POLICY), clock=ManualClock(), lease_ms=3_600_000)

    async def stored(domain: str, tenants: int) -> float:
        await engine.extend(domain, "w", register=True)
        before = await data_bytes(redis)
        for first in range(0, STORED, 500):
            numbers = range(first, first + 500)
            await engine.enqueue(
                domain,
                [NewAction(f"x{n}", "bench.noop", f"t{n % tenants}", "free", _PAYLOAD) for n in numbers],
            )
        return (await data_bytes(redis) - before) / STORED

    queued, with_tenant = await stored("one", 1), await stored("many", STORED)
    before, owned = await data_bytes(redis), 0
    while owned < STORED // 2:
        owned += len((await engine.claim("many", "w", 500)).actions)
    taken = (await data_bytes(redis) - before) / owned
    return {
        "a queued action": {"bytes": queued},
        "a tenant with one action, without it": {"bytes": with_tenant - queued},
        "an action's ownership": {"bytes": taken},
    }


async def data_bytes(redis: Any) -> int:
    """Memory of data."""
    info = await redis.info("memory")
    return int(info["used_memory"] - info["used_memory_overhead"])


async def main(url: str) -> dict[str, dict[str, float]]:
    """Verbs in full calls, those of every action also with one per call, then sizes."""
    async with Redis.from_url(url, protocol=2) as redis:
        verbs, alone = Verbs(redis), Verbs(redis, batch=1)
        await verbs.engine.extend("d", "w", register=True)
        for _ in range(CALLS):
            await verbs.once()
        await redis.flushdb()
        await alone.engine.extend("d", "w", register=True)
        for _ in range(LONE_CALLS):
            await alone.path()
        await redis.flushdb()
        rows = verbs.meter.result()
        for name, row in alone.meter.result().items():
            rows[name] |= {f"alone_{figure}": value for figure, value in row.items()}
        return rows | await sizes(redis)


if __name__ == "__main__":
    obey()
    say(run(main(sys.argv[1])))
