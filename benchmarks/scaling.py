"""Cost of a claim by how many tenants wait, and with 100,000 idle ones known: it should be flat.

Every population is a domain of its own on one server, and claims go round them in blocks, so that all see
the same machine. A claim hands in 10 actions and takes 10; limits and quotas are on. ``python -m
benchmarks.scaling URL`` prints one line of JSON.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

from redis.asyncio import Redis

from nooble_tasks._engine import Engine, Finish, ManualClock, NewAction, Outcome, Policy

from .loop import obey, run, say
from .verbs import data_bytes

SLOTS, BLOCKS, BLOCK = 10, 40, 25
WARM_UP = 30
_POLICY = Path(__file__).with_name("policy.toml")
_TIER = "free"  # one for all: ten slots then serve ten tenants, however many there are

LEGEND = (
    "a call hands in 10 actions and takes 10, limits on; call_: seen by the client; server_us_per_action: "
    "time in the scripts; flat_: over that of 10 tenants; data_mb: when each has one action"
)


class Population(NamedTuple):
    """``waiting`` tenants with work in line; ``idle`` that were served a moment ago and have none."""

    name: str
    waiting: int
    idle: int = 0


POPULATIONS = (
    Population("10", 10),
    Population("100", 100),
    Population("1,000", 1_000),
    Population("10,000", 10_000),
    Population("100,000", 100_000),
    Population("100 + 100,000 idle", 100, 100_000),
)


class Lane:
    """One population in a domain of its own."""

    def __init__(self, redis: Any, population: Population) -> None:
        self.population = population
        self.domain = f"d{population.waiting}i{population.idle}"
        self.clock = ManualClock()
        self.engine = Engine(redis, policy=Policy.load(_POLICY), clock=self.clock, lease_ms=3_600_000)
        self.owned: list[Any] = []
        self.calls_ms: list[float] = []
        self.server_us = 0
        self.data_mb = 0.0
        self._sent = 0

    async def prepare(self) -> None:
        """Fill the lines; let the idle tenants be served."""
        await self.engine.extend(self.domain, "w", register=True)
        await self._send("idle", self.population.idle, self.population.idle)
        while self.population.idle:
            claim = await self.engine.claim(self.domain, "w", 500)
            if not claim.actions:
                break
            await self.engine.finish(self.domain, "w", [Finish(a, Outcome.COMPLETED) for a in claim.actions])
        calls = WARM_UP + BLOCKS * BLOCK
        waiting = self.population.waiting
        before = await data_bytes(self.engine.redis)
        await self._send("tenant", waiting, waiting)
        self.data_mb = (await data_bytes(self.engine.redis) - before) / 1e6
        await self._send("more", max(calls * SLOTS, waiting), waiting)
        for _ in range(WARM_UP):
            await self.turn()

    async def block(self) -> None:
        """Some calls in a row, timed."""
        before = await script_us(self.engine.redis)
        for _ in range(BLOCK):
            started = time.perf_counter()
            await self.turn()
            self.calls_ms.append((time.perf_counter() - started) * 1000)
        self.server_us += await script_us(self.engine.redis) - before

    async def turn(self) -> None:
        """Hand in what was taken last time and take as much again, two seconds later.

        A moving window remembers its starts: so it holds some thirty of each of ten tenants, not thousands.
        """
        self.clock.advance(2_000)
        finishes = [Finish(action, Outcome.COMPLETED) for action in self.owned]
        _, claim = await self.engine.finish_and_claim(self.domain, "w", finishes, SLOTS)
        assert len(claim.actions) == SLOTS
        self.owned = claim.actions

    async def _send(self, prefix: str, count: int, tenants: int) -> None:
        payload, who = b'{"x":"' + b"y" * 200 + b'"}', "idle" if prefix == "idle" else "tenant"
        for first in range(0, count, 500):
            numbers = range(first, min(first + 500, count))
            await self.engine.enqueue(
                self.domain,
                [
                    NewAction(f"{prefix}{n}", "bench.noop", f"{who}{n % tenants}", _TIER, payload)
                    for n in numbers
                ],
            )

    def row(self) -> dict[str, float]:
        """What was measured."""
        times = sorted(self.calls_ms)
        return {
            "call_p50_ms": times[len(times) // 2],
            "call_p99_ms": times[int(len(times) * 0.99)],
            "server_us_per_action": self.server_us / len(times) / SLOTS,
        } | ({} if self.population.idle else {"data_mb": self.data_mb})


async def script_us(redis: Any) -> int:
    """Time the server has spent in scripts."""
    stats = await redis.info("commandstats")
    return sum(int(stats.get(f"cmdstat_{name}", {}).get("usec", 0)) for name in ("evalsha", "eval"))


async def main(url: str) -> dict[str, dict[str, float]]:
    """All populations, block by block in turn."""
    async with Redis.from_url(url, protocol=2) as redis:
        lanes = [Lane(redis, population) for population in POPULATIONS]
        for lane in lanes:
            await lane.prepare()
        for _ in range(BLOCKS):
            for lane in lanes:
                await lane.block()
    rows = {lane.population.name: lane.row() for lane in lanes}
    least = rows[POPULATIONS[0].name]
    for row in rows.values():
        row["flat_p99"] = row["call_p99_ms"] / least["call_p99_ms"]
        row["flat_server"] = row["server_us_per_action"] / least["server_us_per_action"]
    return rows


if __name__ == "__main__":
    obey()
    say(run(main(sys.argv[1])))
