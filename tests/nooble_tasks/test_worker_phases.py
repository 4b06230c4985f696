"""Quiet, resume, drain and stop: by method, by message, by signal; and handlers that will not end."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest
from redis.asyncio import Redis

from nooble_tasks import (
    ActionCancelled,
    BaseRedisClient,
    BaseWorker,
    QueueUnavailable,
    Readiness,
    UnknownWorker,
    handles,
)
from nooble_tasks import line as line_module
from nooble_tasks import worker as worker_module
from nooble_tasks._engine import State
from tests.conftest import ExpectCleanKeys
from tests.nooble_tasks.support import (
    DOMAIN,
    KEYS,
    ProbeService,
    action,
    connect,
    is_asleep,
    settings_for,
    soon,
    until,
    working,
)


class DeafService(ProbeService):
    def __init__(self) -> None:
        super().__init__()
        self.let_go = asyncio.Event()

    @handles("probe.deaf")
    async def deaf(self) -> None:
        """Swallows every cancellation."""
        self.started.put_nowait(action())
        while not self.let_go.is_set():
            try:
                await self.let_go.wait()
            except asyncio.CancelledError:
                pass


async def state_of(client: BaseRedisClient, worker: BaseWorker) -> str:
    found = {each.worker_id: each for each in await client.workers.list()}
    return str(found[worker.worker_id].info["state"]) if worker.worker_id in found else "gone"


async def test_quiet_claims_nothing_and_stays_and_resumes(
    redis: Redis, client: BaseRedisClient, probe: ProbeService, expect_clean_keys: ExpectCleanKeys
) -> None:
    expect_clean_keys("nooble:*:operations")
    async with working(redis, probe) as worker:
        running = await client.enqueue_action(action("wait", "x"))
        await probe.next_started()
        assert await client.workers.quiet(worker.worker_id, by="ann", why="a look") == [worker.worker_id]

        async def quiet() -> bool:
            return await state_of(client, worker) == "quiet"

        await until(quiet)
        waiting = await client.enqueue_action(action("echo", 1))
        probe.gate.set()
        assert await running.result(10) == "x", "what runs goes on"
        await until(lambda: asyncio.sleep(0, worker.running == 0))
        assert await waiting.status() is State.READY
        assert not await redis.exists(KEYS.of("sleepers", DOMAIN)), "nobody wakes it in vain"
        assert await client.workers.resume(domains=[DOMAIN], by="ann") == [worker.worker_id]
        assert await waiting.result(10) == 1
        assert await state_of(client, worker) == "running"


async def test_a_wake_up_of_a_quiet_worker_reaches_another(
    redis: Redis, client: BaseRedisClient, probe: ProbeService
) -> None:
    async with working(redis, probe) as first:
        async with working(redis, ProbeService()) as second:
            await until(lambda: is_asleep(redis, second))
            second.quiet()
            # Until the server knows, it may still be chosen: then it hands the wake-up on.
            assert (await client.request(action("echo", 1), 10)).data == 1
            assert (await client.request(action("echo", 2), 10)).data == 2
        assert first.phase.claims


async def test_drain_waits_for_what_runs_however_long(
    redis: Redis, client: BaseRedisClient, probe: ProbeService
) -> None:
    settings = settings_for(drain_timeout_s=0)
    async with working(redis, probe, settings=settings) as worker:
        handle = await client.enqueue_action(action("wait", "x"))
        await probe.next_started()
        draining = asyncio.create_task(worker.drain())
        waiting = await client.enqueue_action(action("echo"))

        async def told() -> bool:
            return await state_of(client, worker) == "draining"

        await until(told)
        assert worker.running == 1
        probe.gate.set()
        await soon(draining)
        assert await handle.result(5) == "x"
        assert await waiting.status() is State.READY
        assert await state_of(client, worker) == "gone"


async def test_a_drain_can_be_cut_short(redis: Redis, client: BaseRedisClient, probe: ProbeService) -> None:
    async with working(redis, probe) as worker:
        handle = await client.enqueue_action(action("wait"))
        await probe.next_started()
        draining = asyncio.create_task(worker.drain())
        await asyncio.sleep(0)
        await soon(worker.stop(0))
        await soon(draining)
        assert await handle.status() is State.READY


async def test_signals_make_it_quiet_and_drain_it(
    redis: Redis, client: BaseRedisClient, probe: ProbeService
) -> None:
    loop = asyncio.get_running_loop()
    try:
        async with working(redis, probe) as worker:
            worker.install_signal_handlers()
            os.kill(os.getpid(), signal.SIGUSR1)
            await until(lambda: asyncio.sleep(0, worker.phase.state == "quiet"))
            os.kill(os.getpid(), signal.SIGUSR2)
            await soon(worker._ended.wait())
    finally:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2):
            loop.remove_signal_handler(number)


async def test_a_handler_that_swallows_every_cancellation_is_given_up(
    redis: Redis,
    client: BaseRedisClient,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(worker_module, "_GIVE_UP_S", 0.2)
    service = DeafService()
    async with working(redis, service) as worker:
        handle = await client.enqueue_action(action("deaf"))
        await service.next_started()
        await soon(worker.stop(0), 5)
        assert await handle.status() is State.READY
        assert worker.given_up == 1
        assert "the handler of probe.deaf swallows every cancellation" in caplog.text
    service.let_go.set()
    await until(lambda: asyncio.sleep(0, worker.given_up == 0))
    another = DeafService()
    another.let_go.set()
    async with working(redis, another):
        assert (await handle.response(10)).attempt == 1, "no attempt was spent"


async def test_a_deaf_handler_does_not_keep_its_action_or_its_slot(
    redis: Redis, client: BaseRedisClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(line_module, "_INSIST_S", 0.01)
    service = DeafService()
    async with working(redis, service, concurrency=1) as worker:
        readiness = Readiness(worker, 60)
        cancelled = await client.enqueue_action(action("deaf"))
        await service.next_started()
        await cancelled.cancel()
        with pytest.raises(ActionCancelled):
            await cancelled.result(10)
        assert (worker.given_up, worker.running) == (1, 0)
        assert f"action {cancelled.action_id} ends while it runs on" in caplog.text
        assert (await client.request(action("echo", "through"), 10)).data == "through"
        assert any("restart the worker" in reason for reason in (await readiness.check()).reasons)
        service.let_go.set()
        await until(lambda: asyncio.sleep(0, worker.given_up == 0))
        assert (await readiness.check()).ready


async def test_deaf_handlers_beyond_the_slots_keep_theirs(
    redis: Redis, client: BaseRedisClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(line_module, "_INSIST_S", 0.01)
    service = DeafService()
    async with working(redis, service, concurrency=1) as worker:
        for _ in range(2):
            deaf = await client.enqueue_action(action("deaf"))
            await service.next_started()
            await deaf.cancel()
            with pytest.raises(ActionCancelled):
                await deaf.result(10)
        waiting = await client.enqueue_action(action("echo", 1))
        assert worker.given_up == 2
        assert worker._slots.room == 0
        assert await waiting.status() is State.READY
        service.let_go.set()
        assert await waiting.result(10) == 1


async def test_the_list_says_what_each_runs(
    redis: Redis, client: BaseRedisClient, probe: ProbeService
) -> None:
    async with working(redis, probe, concurrency=7) as worker:
        handle = await client.enqueue_action(action("wait"))
        await probe.next_started()
        (standing,) = await client.workers.list([DOMAIN])
        assert standing.worker_id == worker.worker_id
        assert (standing.info["slots"], standing.info["pid"]) == (7, os.getpid())
        assert standing.info["version"]
        (running,) = standing.running
        assert (running.action_id, running.action_type, running.tenant_id) == (
            handle.action_id,
            "probe.wait",
            "acme",
        )
        probe.gate.set()


async def test_who_is_not_there_cannot_be_told(
    redis: Redis, client: BaseRedisClient, probe: ProbeService
) -> None:
    async with working(redis, probe) as worker:
        with pytest.raises(UnknownWorker, match=f"did you mean '{worker.worker_id}'"):
            await client.workers.stop(worker.worker_id + "x", by="ann")
    assert await client.workers.stop(by="ann") == []
    lost = BaseRedisClient("tester", connect("redis://127.0.0.1:1"), settings_for())
    with pytest.raises(QueueUnavailable):
        await lost.workers.list()
    await lost.close()
