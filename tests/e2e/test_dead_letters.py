"""`nooble dead` on very many letters, killed in the middle of its work."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest
from redis.asyncio import Redis

from nooble_tasks import DomainAction, RedisManager, Settings
from nooble_tasks.bus import Bus
from tests.e2e.processes import run, running, until
from tests.nooble_tasks.redis_servers import awaited

MANY = 100_000
TENANTS = 4


async def bury(redis: Redis, bus: Bus, many: int) -> None:
    """Letters as `finish` writes them."""
    await bus.ready()
    await bus.engine.publish_policy("shop")
    now_ms = bus.clock.now_ms()
    for start in range(0, many, 5_000):
        pipeline = redis.pipeline(transaction=False)
        for number in range(start, min(start + 5_000, many)):
            tenant = f"tenant-{number % TENANTS}"
            action = DomainAction(action_type="shop.order.place", tenant_id=tenant, action_id=f"a-{number}")
            head = f"v1 {action.action_id} 0 shop.order.place {now_ms} - -"
            fields: dict[str, str | bytes | int] = {
                "tier": "enterprise",
                "at": now_ms,
                "reason": "OSError: disk full",
                "attempt": 1,
                "head": head,
                "data": action.to_json(),
                "attempts": "",
            }
            pipeline.xadd(bus.keys.of("dead", "shop", tenant), fields)  # type: ignore[arg-type]
        await pipeline.execute()
    tenants = {f"tenant-{number}": now_ms for number in range(TENANTS)}
    await redis.zadd(bus.keys.of("dead_tenants", "shop"), tenants)


async def letters(redis: Redis, bus: Bus) -> list[int]:
    return [await redis.xlen(bus.keys.of("dead", "shop", f"tenant-{n}")) for n in range(TENANTS)]


async def in_line(redis: Redis, bus: Bus) -> list[str]:
    """The ids of all entries of all streams."""
    ids = []
    for number in range(TENANTS):
        entries = await redis.xrange(bus.keys.stream("shop", f"tenant-{number}", "enterprise"))
        ids += [fields[b"head"].split(b" ")[1].decode() for _, fields in entries]
    return ids


@pytest.mark.slow
@pytest.mark.faults
async def test_a_hundred_thousand_letters_and_a_redriver_that_is_killed(
    redis: Redis, redis_url: str, tmp_path: Path
) -> None:
    environment = {"NOOBLE_REDIS_URL": redis_url}
    settings = Settings(service_name="shop_service", redis_url=redis_url)
    async with RedisManager(settings) as manager:
        bus = Bus.of(manager.get_client(), settings)
        await bury(redis, bus, MANY)
        listed = run("dead", "list", "--reason", "DISK", "--limit", "3", "--json", settings=environment)
        assert (json.loads(listed.stdout)["total"], len(json.loads(listed.stdout)["letters"])) == (MANY, 3)

        with running(tmp_path / "redrive.log", "dead", "redrive", "--all", settings=environment) as redriver:

            async def halfway() -> bool:
                return sum(await letters(redis, bus)) < MANY - 5_000

            await until(halfway, f"some are redriven: {redriver.output}")
            redriver.send(signal.SIGKILL)
            redriver.wait()
        left = sum(await letters(redis, bus))
        assert 0 < left < MANY - 5_000, "it was to be killed in the middle"
        back = await in_line(redis, bus)
        assert len(back) == len(set(back)) == MANY - left

        rest = run("dead", "redrive", "--all", settings=environment)
        assert rest.stdout == f"{left:,} of {left:,} redriven\n"
        assert sum(await letters(redis, bus)) == 0
        back = await in_line(redis, bus)
        assert len(back) == len(set(back)) == MANY
        waiting = await awaited(redis.hgetall(bus.keys.of("waiting", "shop")))
        assert sum(map(int, waiting.values())) == MANY
        await bus.close()
