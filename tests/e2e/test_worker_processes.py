"""`nooble worker --processes N`: children that die, stop, lose their parent or never get to work."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from redis.asyncio import Redis

from nooble_tasks import ActionHandle
from nooble_tasks._engine import inspection
from nooble_tasks.embedded import EmbeddedServer
from tests.e2e.processes import Running, alive, running, until, wait_until
from tests.e2e.shop import GATE
from tests.e2e.test_workers import TARGET, Shop, opened, shop

__all__ = ["shop"]

pytestmark = pytest.mark.faults

PROMISED_S = 1.0
SETTINGS = {"NOOBLE_DOMAIN_NAME": "shop", "NOOBLE_LEASE_S": "60", "NOOBLE_LOG_FORMAT": "text"}
"""A lease that nobody could wait for."""


class Fleet:
    """A supervisor and its workers, and what the shop's book says about them."""

    def __init__(self, shop: Shop, process: Running) -> None:
        self.shop = shop
        self.process = process
        self.known: list[psutil.Process] = []

    async def until_registered(self, many: int) -> None:
        async def registered() -> bool:
            assert self.process.process.poll() is None, self.process.output
            return (await inspection.domain_counts(self.shop.engine, "shop")).workers == many

        await until(registered, f"{many} workers are registered")

    async def until_runs(self, many: int) -> list[dict[str, Any]]:
        async def enough() -> bool:
            return len(await self.shop.runs()) >= many

        await until(enough, f"{many} attempts began: {self.process.output}")
        return list(await self.shop.runs())

    def children(self) -> list[psutil.Process]:
        """Of the supervisor: workers, and its guard."""
        self.known = psutil.Process(self.process.pid).children(recursive=True)
        return self.known

    def worker_pids(self) -> list[int]:
        return [each.pid for each in self.children() if "tests.e2e.shop:" in " ".join(each.cmdline())]


@contextlib.contextmanager
def fleet_of(shop: Shop, folder: Path, url: str, processes: int, **settings: str) -> Iterator[Fleet]:
    target = settings.pop("target", TARGET)
    environment = {"NOOBLE_REDIS_URL": url, **SETTINGS, **settings}
    arguments = ("worker", target, "--processes", str(processes))
    with running(folder / "fleet.log", *arguments, settings=environment) as process:
        fleet = Fleet(shop, process)
        try:
            yield fleet
        finally:
            if process.process.poll() is None:
                process.send(signal.SIGTERM)
                process.wait()
            for each in fleet.known:  # of a supervisor that the test killed
                with contextlib.suppress(psutil.NoSuchProcess):
                    each.kill()


async def waiting_actions(shop: Shop, many: int) -> list[ActionHandle]:
    """Of a tenant each; they end when the gate opens."""
    return [
        await shop.client.enqueue_action("shop.order.wait", tenant_id=f"tenant-{n}", tier="enterprise")
        for n in range(many)
    ]


async def test_what_a_killed_child_held_starts_again_on_another_within_a_second(
    shop: Shop, redis: Redis, redis_url: str, tmp_path: Path
) -> None:
    with fleet_of(shop, tmp_path, redis_url, 2) as fleet:
        await fleet.until_registered(2)
        handles = await waiting_actions(shop, 4)
        victim = (await fleet.until_runs(4))[0]["pid"]
        held = sorted(run["id"] for run in await fleet.until_runs(4) if run["pid"] == victim)
        killed_s = time.monotonic()
        os.kill(victim, signal.SIGKILL)
        again = (await fleet.until_runs(4 + len(held)))[4:]
        assert sorted(run["id"] for run in again) == held
        assert all(run["pid"] != victim and run["attempt"] == 2 for run in again)
        assert max(run["at_s"] for run in again) - killed_s <= PROMISED_S, fleet.process.output
        await redis.set(GATE, 1)
        attempts = {handle.action_id: await handle.result(10) for handle in handles}
        assert attempts == {handle.action_id: 1 + (handle.action_id in held) for handle in handles}
        await fleet.until_registered(2)  # the dead one was replaced


async def test_two_children_die_at_once(shop: Shop, redis: Redis, redis_url: str, tmp_path: Path) -> None:
    """Two of four, each with both its slots taken: the other two have room for all of that."""
    with fleet_of(shop, tmp_path, redis_url, 4, NOOBLE_CONCURRENCY="2") as fleet:
        await fleet.until_registered(4)
        handles = await waiting_actions(shop, 4)
        runs = await fleet.until_runs(4)
        victims = sorted({run["pid"] for run in runs})[:2]
        held = sorted(run["id"] for run in runs if run["pid"] in victims)
        killed_s = time.monotonic()
        for victim in victims:
            os.kill(victim, signal.SIGKILL)
        again = (await fleet.until_runs(4 + len(held)))[4:]
        assert sorted(run["id"] for run in again) == held
        assert not {run["pid"] for run in again} & {*victims}
        assert max(run["at_s"] for run in again) - killed_s <= PROMISED_S, fleet.process.output
        await redis.set(GATE, 1)
        assert sum([await handle.result(10) for handle in handles]) == 4 + len(held)


@pytest.fixture
def durable(redis_server: EmbeddedServer) -> Iterator[EmbeddedServer]:
    """A server of this test alone, which knows everything again when it comes back."""
    options = {"appendfsync": "always"}
    with EmbeddedServer(persist=False, binary=redis_server.binary.path, options=options) as server:
        yield server


async def test_a_child_dies_while_the_server_is_away(durable: EmbeddedServer, tmp_path: Path) -> None:
    """What it held is back within a second of the server's answering, long before its lease ends."""
    async with opened(durable.url, tmp_path) as shop:
        with fleet_of(shop, tmp_path, durable.url, 2) as fleet:
            await fleet.until_registered(2)
            (handle,) = await waiting_actions(shop, 1)
            (run,) = await fleet.until_runs(1)
            os.kill(durable.pid, signal.SIGKILL)
            await asyncio.to_thread(durable.wait, 30)
            os.kill(run["pid"], signal.SIGKILL)
            wait_until(lambda: "as soon as possible" in fleet.process.output, "the supervisor has tried")
            await asyncio.to_thread(durable.start)  # returns when it answers
            answered_s = time.monotonic()

            async def taken_back() -> bool:
                return await handle.status() != "running" or len(await shop.runs()) > 1

            await until(taken_back, f"the action is taken back: {fleet.process.output}")
            assert time.monotonic() - answered_s <= PROMISED_S, fleet.process.output
            await shop.client.redis_client.set(GATE, 1)
            assert await handle.result(20) == 2


async def test_a_stopped_child_loses_what_it_held_and_can_still_be_ended(
    shop: Shop, redis: Redis, redis_url: str, tmp_path: Path
) -> None:
    """It is alive, so it has its lease's time; what it says afterwards is refused."""
    lease_s = 1.0
    with fleet_of(shop, tmp_path, redis_url, 2, NOOBLE_LEASE_S=f"{lease_s}") as fleet:
        await fleet.until_registered(2)
        (handle,) = await waiting_actions(shop, 1)
        (run,) = await fleet.until_runs(1)
        stopped_s = time.monotonic()
        os.kill(run["pid"], signal.SIGSTOP)
        again = (await fleet.until_runs(2))[1]
        assert again["pid"] != run["pid"]
        assert again["at_s"] - stopped_s <= lease_s + 5
        await redis.set(GATE, 1)
        assert await handle.result(10) == 2
        os.kill(run["pid"], signal.SIGCONT)
        wait_until(lambda: "lost the lease" in fleet.process.output, "it notices")
        await fleet.until_registered(2)
        assert await shop.responses_stored([handle]) == {1: 1}
        assert await shop.completed() == 1
        stopped = fleet.worker_pids()
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        fleet.process.send(signal.SIGTERM)
        assert fleet.process.wait(10) == 0, "a stopped child is continued, to end by itself"
        assert not [pid for pid in stopped if alive(pid)]
        assert "SIGKILL" not in fleet.process.output


async def test_the_children_of_a_killed_supervisor_end_what_they_run(
    shop: Shop, redis: Redis, redis_url: str, tmp_path: Path
) -> None:
    """They are told twice, by the kernel and by the guard: that must not cut their grace short."""
    with fleet_of(shop, tmp_path, redis_url, 2) as fleet:
        await fleet.until_registered(2)
        handles = await waiting_actions(shop, 2)
        await fleet.until_runs(2)
        everybody = fleet.children()
        fleet.process.send(signal.SIGKILL)
        fleet.process.wait()

        async def all_stop() -> bool:
            return {each.info["state"] for each in await shop.client.workers.list()} == {"stopping"}

        await until(all_stop, "those that have something to do have been told")
        late = await shop.client.enqueue_action("shop.order.wait", tenant_id="late", tier="enterprise")
        await redis.set(GATE, 1)
        assert [await handle.result(10) for handle in handles] == [1, 1]
        wait_until(lambda: not [each for each in everybody if alive(each.pid)], "all have ended")
        assert await late.status() == "ready", "who stops takes nothing new"
        assert len(await shop.runs()) == 2


async def test_a_child_dies_while_it_starts(shop: Shop, redis_url: str, tmp_path: Path) -> None:
    with fleet_of(shop, tmp_path, redis_url, 2) as fleet:
        wait_until(lambda: len(fleet.worker_pids()) == 2, "both have begun")
        victim = fleet.worker_pids()[0]
        os.kill(victim, signal.SIGKILL)
        await fleet.until_registered(2)
        assert victim not in fleet.worker_pids()
        assert "was killed by SIGKILL; it restarts in 0.5 s" in fleet.process.output
        assert "took back" not in fleet.process.output


async def test_it_goes_by_the_settings_of_the_service(
    shop: Shop, redis: Redis, redis_url: str, tmp_path: Path
) -> None:
    """Which may have a prefix of their own: the server, and here the grace, are known to it alone."""
    own = {"NOOBLE_SHOP_REDIS_URL": redis_url, "NOOBLE_SHOP_DOMAIN_NAME": "shop", "NOOBLE_SHOP_LEASE_S": "60"}
    target = "tests.e2e.shop:OwnSettingsShop"
    with fleet_of(shop, tmp_path, "", 2, target=target, NOOBLE_DOMAIN_NAME="", **own) as fleet:
        await fleet.until_registered(2)
        (handle,) = await waiting_actions(shop, 1)
        (run,) = await fleet.until_runs(1)
        killed_s = time.monotonic()
        os.kill(run["pid"], signal.SIGKILL)
        again = (await fleet.until_runs(2))[1]
        assert again["at_s"] - killed_s <= PROMISED_S, fleet.process.output
        await redis.set(GATE, 1)
        assert await handle.result(10) == 2


async def test_cancelling_reaches_what_a_killed_worker_had_sent(
    shop: Shop, redis: Redis, redis_url: str, tmp_path: Path
) -> None:
    """The second attempt, on another worker, knows nothing of it."""
    with fleet_of(shop, tmp_path, redis_url, 2) as fleet:
        await fleet.until_registered(2)
        handle = await shop.client.enqueue_action("shop.order.parent", tenant_id="acme", tier="enterprise")
        runs = await fleet.until_runs(2)  # the parent, and the child that need not wait
        os.kill(next(run["pid"] for run in runs if run["id"] == handle.action_id), signal.SIGKILL)

        async def again() -> bool:
            return [run["attempt"] for run in await shop.runs() if run["id"] == handle.action_id] == [1, 2]

        await until(again, "the parent runs again")
        assert await handle.cancel()

        async def all_over() -> bool:
            return not await redis.exists("nooble:shop:actions")

        await until(all_over, "the parent and both children are over")
        counted = await inspection.domain_counts(shop.engine, "shop")
        assert sum(row.cancelled for row in counted.tiers) == 3
        assert not await redis.exists("nooble:shop:parents")
