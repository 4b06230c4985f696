"""Workers come and go, a thousand times: what they leave behind on the server is nothing."""

from __future__ import annotations

import asyncio
import random
from typing import Any

from nooble_tasks._engine import inspection
from tests.faults.crew import Crew, pid_of
from tests.faults.doses import FULL, dose
from tests.faults.ledger import Ledger
from tests.faults.memory import until_expired, used_memory
from tests.faults.workshop import DOMAIN

RESTARTS, STREAMS = dose(16, 1_000), dose(40, 1_000)
WORKERS = 4
SETTLED = 0.2
"""Part of the restarts after which memory may not grow any more."""
GROWTH = 1.05


async def test_restarts_leave_nothing_behind(redis_url: str, crew: Crew, chance: random.Random) -> None:
    """One in four is killed, the others are stopped. Names of workers do not pile up: not as consumers of
    the streams, not anywhere."""
    settings: dict[str, Any] = {"concurrency": 20, "result_ttl_s": 2.0, "dedupe_window_s": 1.0}
    async with Ledger.opened(redis_url) as ledger:
        for _ in range(WORKERS):
            crew.hire(**settings)
        before = 0
        for number in range(RESTARTS):
            if number % 8 == 0:
                await ledger.send(STREAMS, tenants=STREAMS)
            if number % 4 == 3:
                crew.kill(chance.choice(crew.members))
            else:
                oldest = crew.members[0]
                await ledger.until_registered(pid_of(oldest))
                crew.stop(oldest)
                assert await asyncio.to_thread(crew.gone, oldest) == 0
            crew.hire(**settings)
            await ledger.until_ended(len(ledger.accepted) - STREAMS)
            if number == int(RESTARTS * SETTLED):
                before = await at_rest(ledger)
        grown = await at_rest(ledger) / before
        ledger.check_outcomes()
        await ledger.check_runs(extra_runs=RESTARTS * 20)
        await ledger.check_nothing_is_left()
        assert not FULL or grown <= GROWTH, f"memory grew {grown:.3f} times"
        await ledger.send(STREAMS, tenants=STREAMS, verb="wait")
        await asyncio.sleep(0)
        await check_names(ledger)


async def at_rest(ledger: Ledger) -> int:
    """Bytes when all has ended, the dead are forgotten and what expires has expired."""
    await ledger.until_ended()
    await until_workers(ledger, WORKERS)
    await until_expired(ledger)
    return await used_memory(ledger)


async def until_workers(ledger: Ledger, many: int) -> None:
    async with asyncio.timeout(30):
        while (await inspection.domain_counts(ledger.client.bus.engine, DOMAIN)).workers != many:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def check_names(ledger: Ledger) -> None:
    """Of workers only those that live are known, and none of them is a consumer by its name."""
    keys, redis = ledger.client.bus.keys, ledger.redis
    alive = set(await redis.zrange(keys.of("workers", DOMAIN), 0, -1))
    assert len(alive) == WORKERS
    for each in ("worker_info", "declarations"):
        assert set(await redis.hkeys(keys.of(each, DOMAIN))) <= alive, each
    assert set(await redis.zrange(keys.of("sleepers", DOMAIN), 0, -1)) <= alive
    for each in ("owned", "mailbox", "cancelling"):
        prefix = keys.of(each, DOMAIN, "")
        named = {key.removeprefix(prefix.encode()) for key in await redis.keys(f"{prefix}*")}
        assert named <= alive, each
    consumers = set()
    for number in range(STREAMS):
        stream = keys.stream(DOMAIN, f"tenant-{number}", "open")
        consumers |= {each["name"] for each in await redis.xinfo_consumers(stream, "workers")}
    assert consumers <= {b"running", b"parked"}
