"""All faults at random for a long time: every promise kept, and nothing grows."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import psutil

from nooble_tasks.embedded import EmbeddedServer
from tests.faults import running
from tests.faults.crew import TASKS, Crew, pid_of
from tests.faults.doses import dose
from tests.faults.ledger import Ledger
from tests.faults.memory import until_expired, used_memory
from tests.faults.proxy import PASS, Call, Proxy, Treatment
from tests.faults.workshop import DOMAIN, FEW

LASTS_S = dose(6, 3_600)
WARM_UP = 0.3
"""Part of the time after which things may not grow any more."""
GROWTH = 1.05
CONCURRENCY = 10
STEADY, REPLACED = 2, 2


class Size(NamedTuple):
    """What may not grow: keys of the server and its memory, and what the oldest workers have open."""

    keys: int
    memory_mb: float
    files: int
    tasks: int
    threads: int
    worker_mb: float


class Soak:
    """The system under fire. The first ``STEADY`` workers live as long as it does, the others come and go."""

    def __init__(
        self, server: EmbeddedServer, proxy: Proxy, ledger: Ledger, crew: Crew, chance: random.Random
    ):
        self.server, self.proxy, self.ledger, self.crew, self.chance = server, proxy, ledger, crew, chance
        self.extra_runs = 0
        self.settings = {"result_ttl_s": 3.0, "dedupe_window_s": 1.0, "tells_tasks": True}
        for _ in range(STEADY + REPLACED):
            self.hire()

    def hire(self) -> None:
        self.crew.hire(url=self.proxy.url, concurrency=CONCURRENCY, **self.settings)

    def steady(self) -> list[Any]:
        return self.crew.members[:STEADY]

    def passing(self) -> Any:
        return self.chance.choice(self.crew.members[STEADY:])

    async def kill(self) -> None:
        self.crew.kill(self.passing())
        self.extra_runs += CONCURRENCY
        self.hire()

    async def restart(self) -> None:
        member = self.passing()
        self.crew.stop(member)
        await asyncio.to_thread(self.crew.gone, member)
        self.hire()

    async def freeze(self) -> None:
        """For longer than a lease."""
        member = self.passing()
        os.kill(pid_of(member), signal.SIGSTOP)
        await asyncio.sleep(self.chance.uniform(0.5, 2.5))
        os.kill(pid_of(member), signal.SIGCONT)
        self.extra_runs += CONCURRENCY

    async def cut(self) -> None:
        self.proxy.cut()
        self.extra_runs += CONCURRENCY * len(self.crew.members)

    async def mishear(self) -> None:
        """For a while replies are lost or are errors."""
        errors = [b"-LOADING x\r\n", b"-BUSY x\r\n", b"-READONLY x\r\n", b"-MISCONF x\r\n", b"-OOM x\r\n"]

        def decide(call: Call) -> Treatment:
            if self.chance.random() > 0.05 or call.words[0] in ("CLIENT", "SELECT"):
                return PASS
            answer = self.chance.choice([b"", *errors])
            return Treatment(answer=answer) if answer else Treatment(mute=True)

        self.proxy.decide = decide
        await asyncio.sleep(self.chance.uniform(0.1, 0.5))
        self.proxy.decide = lambda call: PASS
        self.extra_runs += CONCURRENCY * len(self.crew.members)

    async def forget_scripts(self) -> None:
        await self.ledger.redis.script_flush()

    async def kill_the_server(self) -> None:
        os.kill(self.server.pid, signal.SIGKILL)
        await asyncio.to_thread(self.server.wait, 30)
        await asyncio.to_thread(self.server.start)
        self.extra_runs += CONCURRENCY * len(self.crew.members)

    async def nothing(self) -> None:
        await asyncio.sleep(0.2)

    def faults(self) -> list[Callable[[], Awaitable[None]]]:
        often = [self.kill, self.restart, self.cut, self.mishear, self.forget_scripts, self.nothing]
        return [*often, *often, self.freeze, self.kill_the_server]

    async def size(self) -> Size:
        redis: Any = self.ledger.redis
        keys = [key async for key in redis.scan_iter(count=10_000) if b":resp:" not in key]
        memory = await used_memory(self.ledger)
        workers = [psutil.Process(pid_of(member)) for member in self.steady()]
        return Size(
            len(keys),
            memory / 2**20,
            sum(worker.num_fds() for worker in workers),
            sum([int(await redis.hget(TASKS, str(worker.pid))) for worker in workers]),
            sum(worker.num_threads() for worker in workers),
            sum(worker.memory_info().rss for worker in workers) / 2**20,
        )


async def test_everything_at_random(redis_server: EmbeddedServer, chance: random.Random) -> None:
    options = {"appendfsync": "always"}
    with EmbeddedServer(persist=False, binary=redis_server.binary.path, options=options) as server:
        async with Proxy(server.url) as proxy:
            with Crew(proxy.url) as crew:
                async with Ledger.opened(server.url) as ledger:
                    streams = [f"{DOMAIN}:tenant-{number}:few" for number in range(2)]
                    async with running.sampled(ledger.redis, streams) as at_once, ledger.following():
                        await under_fire(Soak(server, proxy, ledger, crew, chance))
    assert 0 < max(at_once.values()) <= FEW


async def under_fire(soak: Soak) -> None:
    """Faults until time is up; sizes are taken at rest, after the warm-up and at the end."""
    begun, before = time.monotonic(), None
    while (passed := time.monotonic() - begun) < LASTS_S:
        await soak.ledger.send(soak.chance.randint(1, 60), takes_s=soak.chance.choice([0, 0.002, 0.02]))
        await soak.ledger.send(5, tier="narrow")
        await soak.ledger.send(8, tier="few", tenants=2, takes_s=0.1)
        await soak.chance.choice(soak.faults())()
        if before is None and passed > LASTS_S * WARM_UP:
            before = await at_rest(soak)
    after = await at_rest(soak)
    assert all(member.is_alive() for member in soak.steady())
    soak.ledger.check_outcomes()
    await soak.ledger.check_runs(soak.extra_runs)
    soak.ledger.check_limits()
    await soak.ledger.check_nothing_is_left()
    assert before is not None
    assert after.keys <= before.keys * GROWTH + 8, f"keys: {before} → {after}"
    assert after.files <= before.files * GROWTH + 4, f"open files: {before} → {after}"
    assert after.tasks <= before.tasks * GROWTH + 4, f"tasks: {before} → {after}"
    assert after.threads <= before.threads * GROWTH + 4, f"threads: {before} → {after}"
    if LASTS_S >= 600:  # below, allocators and imports are still settling
        assert after.memory_mb <= before.memory_mb * GROWTH + 2, f"server memory: {before} → {after}"
        assert after.worker_mb <= before.worker_mb * GROWTH, f"worker memory: {before} → {after}"


async def at_rest(soak: Soak) -> Size:
    """When all has ended and what expires has expired."""
    await soak.ledger.until_ended()
    await until_expired(soak.ledger)
    return await soak.size()
