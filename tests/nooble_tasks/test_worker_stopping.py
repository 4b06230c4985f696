"""A worker that stops: quiet, drain, release."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import Any

import pytest
from redis.asyncio import Redis

from nooble_tasks import BaseRedisClient, BaseWorker, handles, worker_signals
from nooble_tasks import line as line_module
from nooble_tasks._engine import State
from tests.nooble_tasks.support import DOMAIN, KEYS, ProbeService, action, settings_for, soon, working


class StubbornService(ProbeService):
    """Its handler does not end at the first cancellation."""

    @handles("probe.stubborn")
    async def stubborn(self) -> None:
        self.started.put_nowait(action())
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await asyncio.Event().wait()


async def test_what_runs_may_end_within_the_grace_and_nothing_new_starts(
    redis: Redis, client: BaseRedisClient, probe: ProbeService
) -> None:
    async with working(redis, probe, concurrency=1) as worker:
        handle = await client.enqueue_action(action("wait", "x"))
        waiting = await client.enqueue_action(action("wait"))
        await probe.next_started()
        stopping = asyncio.create_task(worker.stop(30))
        await asyncio.sleep(0)
        assert not stopping.done()
        probe.gate.set()
        await soon(stopping)
        assert await handle.result(5) == "x"
        assert await waiting.status() is State.READY
    assert not await redis.exists(KEYS.of("workers", DOMAIN), KEYS.mailbox(DOMAIN, worker.worker_id))


async def test_the_rest_is_given_back_without_spending_an_attempt(
    redis: Redis, client: BaseRedisClient, probe: ProbeService
) -> None:
    async with working(redis, probe, concurrency=3):
        sent = await client.enqueue_actions([action("wait", n) for n in range(3)])
        for _ in sent:
            await probe.next_started()
    assert probe.interrupted.qsize() == 3
    assert [await each.status() for each in sent] == [State.READY] * 3
    other = ProbeService()
    other.gate.set()
    async with working(redis, other):
        assert [await each.result(10) for each in sent] == [0, 1, 2]
    assert other.attempts == [1, 1, 1]


@pytest.mark.parametrize("message", ["stop", "drain"])
async def test_a_message_stops_it(
    redis: Redis, client: BaseRedisClient, probe: ProbeService, message: str
) -> None:
    worker = BaseWorker(settings_for(), redis, probe)
    running = asyncio.create_task(worker.run())
    assert (await client.request(action("echo", 1), 10)).data == 1
    mailbox = KEYS.mailbox(DOMAIN, worker.worker_id)
    await redis.lpush(mailbox, message)  # type: ignore[misc]
    await soon(running)


async def test_a_shorter_grace_said_later_counts(
    redis: Redis, client: BaseRedisClient, probe: ProbeService
) -> None:
    async with working(redis, probe) as worker:
        handle = await client.enqueue_action(action("wait"))
        await probe.next_started()
        worker.quiet()  # with the settings' 25 seconds
        await soon(worker.stop(0), 5)
        assert await handle.status() is State.READY


@pytest.mark.parametrize("together", [False, True])
async def test_the_second_signal_cuts_the_grace_short(
    redis: Redis,
    client: BaseRedisClient,
    probe: ProbeService,
    monkeypatch: pytest.MonkeyPatch,
    together: bool,
) -> None:
    """Unless it comes together with the first one."""
    monkeypatch.setattr(worker_signals, "TOGETHER_S", 600 if together else 0)
    loop = asyncio.get_running_loop()
    worker = BaseWorker(settings_for(drain_timeout_s=600), redis, probe)
    worker.install_signal_handlers()
    try:
        running = asyncio.create_task(worker.run())
        handle = await client.enqueue_action(action("wait"))
        await probe.next_started()
        os.kill(os.getpid(), signal.SIGTERM)
        while worker.phase.state != "stopping":
            await redis.ping()
        assert worker.running == 1
        assert not running.done()
        os.kill(os.getpid(), signal.SIGTERM)
        if together:
            for _ in range(3):
                await redis.ping()
            assert worker.running == 1
            probe.gate.set()
            await soon(running)
            assert (await handle.response(10)).attempt == 1
            return
        await soon(running)
        assert await handle.status() is State.READY
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


async def test_a_handler_that_swallows_a_cancellation_does_not_hang_it(
    redis: Redis, client: BaseRedisClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(line_module, "_INSIST_S", 0.05)
    service = StubbornService()
    async with working(redis, service) as worker:
        handle = await client.enqueue_action(action("stubborn"))
        await service.next_started()
        await soon(worker.stop(0), 5)
        assert await handle.status() is State.READY


async def test_stopping_twice_and_without_having_run(redis: Redis, probe: ProbeService) -> None:
    async with working(redis, probe) as worker:
        await soon(asyncio.gather(worker.stop(), worker.stop(), worker.stop(1)))
    await soon(BaseWorker(settings_for(), redis, probe).stop())


async def test_a_service_is_started_first_and_stopped_last(redis: Redis, client: BaseRedisClient) -> None:
    said: list[Any] = []

    class Opening(ProbeService):
        async def start(self) -> None:
            said.append("start")

        async def stop(self) -> None:
            said.append(("stop", self.running))

    service = Opening()
    async with working(redis, service):
        await client.enqueue_action(action("wait"))
        await service.next_started()
    assert said == ["start", ("stop", 0)]


async def test_a_service_that_cannot_start_leaves_nothing_behind(redis: Redis) -> None:
    class Failing(ProbeService):
        async def start(self) -> None:
            raise RuntimeError("no disk")

    with pytest.raises(RuntimeError, match="no disk"):
        await soon(BaseWorker(settings_for(), redis, Failing()).run())
    assert not await redis.exists(KEYS.of("workers", DOMAIN))


async def test_a_cancelled_run_gives_everything_back(
    redis: Redis, client: BaseRedisClient, probe: ProbeService
) -> None:
    running = asyncio.create_task(BaseWorker(settings_for(), redis, probe).run())
    handle = await client.enqueue_action(action("wait"))
    await probe.next_started()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await soon(running)
    assert await handle.status() is State.READY
