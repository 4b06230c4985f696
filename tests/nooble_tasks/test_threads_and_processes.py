"""Handlers that do not run in the event loop: plain functions in threads, busy ones in processes."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from nooble_tasks import (
    ActionCancelled,
    ActionFailed,
    ActionTimeout,
    BaseRedisClient,
    BaseService,
    CancelToken,
    ConfigurationError,
    DomainAction,
    LeaseLost,
    RetryPolicy,
    WorkerStopping,
    current_cancel_token,
    current_context,
    handles,
)
from nooble_tasks._engine import State
from tests.nooble_tasks.crunching import CrunchingService, Where
from tests.nooble_tasks.support import DOMAIN, KEYS, action, settings_for, soon, until, working


class PlainService(BaseService):
    def __init__(self, **settings: Any) -> None:
        super().__init__(app_settings=settings_for(**settings))
        self.started = threading.Event()
        self.go_on = threading.Event()
        self.ended = threading.Event()
        self.reasons: list[object] = []

    @handles("probe.add")
    def add(self, data: list[int], action: DomainAction) -> dict[str, Any]:
        context = current_context()
        assert context is not None
        return {"sum": sum(data), "thread": threading.current_thread().name, "tenant": context.tenant_id}

    @handles("probe.wait")
    def wait(self, token: CancelToken) -> str:
        self.started.set()
        token.wait(20)
        self.reasons.append(token.reason)
        return "too late"

    @handles("probe.hasty", timeout=0.1, retry=RetryPolicy(max_attempts=1))
    def hasty(self) -> None:
        token = current_cancel_token()
        token.wait(20)
        self.reasons.append(token.reason)
        token.raise_if_cancelled()

    @handles("probe.deaf", timeout=0.1, retry=RetryPolicy(max_attempts=1))
    def deaf(self) -> None:
        """Listens to nobody."""
        self.started.set()
        self.go_on.wait(20)
        self.ended.set()

    @handles("probe.later")
    async def later(self, token: CancelToken) -> bool:
        return token.cancelled

    @handles("probe.fail")
    def fail(self) -> None:
        raise StopIteration("odd")

    async def began(self) -> None:
        assert await asyncio.to_thread(self.started.wait, 10)


async def test_a_plain_function_runs_in_a_thread_in_its_context(
    redis: Redis, client: BaseRedisClient
) -> None:
    async with working(redis, PlainService()):
        answer = (await client.request(action("add", [1, 2]), 10)).data
        assert answer["sum"] == 3
        assert answer["thread"].startswith("nooble-handler-")
        assert answer["tenant"] == "acme"
        with pytest.raises(ActionFailed, match="StopIteration"):
            await client.request(action("fail"), 10)
        assert (await client.request(action("later"), 10)).data is False


async def test_a_cancellation_decides_at_once_and_the_thread_learns_why(
    redis: Redis, client: BaseRedisClient
) -> None:
    service = PlainService()
    async with working(redis, service):
        handle = await client.enqueue_action(action("wait"))
        await service.began()
        assert await handle.cancel()
        with pytest.raises(ActionCancelled):
            await handle.result(10)
        await until(lambda: asyncio.to_thread(lambda: service.reasons))
    assert isinstance(service.reasons[0], ActionCancelled)


async def test_out_of_time_is_said_while_the_thread_still_runs(redis: Redis, client: BaseRedisClient) -> None:
    service = PlainService(handler_threads=1)
    async with working(redis, service) as worker:
        with pytest.raises(ActionTimeout):
            await (await client.enqueue_action(action("deaf"))).result(10)
        assert not service.ended.is_set()
        assert worker.running == 0
        assert service.pools.threads.lingering == 1, "its thread is not counted as free"
        service.go_on.set()
        await soon(asyncio.to_thread(service.ended.wait))
        await until(lambda: asyncio.sleep(0, service.pools.threads.lingering == 0))
        with pytest.raises(ActionTimeout):
            await (await client.enqueue_action(action("hasty"))).result(10)
        await until(lambda: asyncio.to_thread(lambda: service.reasons))
    assert isinstance(service.reasons[0], ActionTimeout)


async def test_stopping_gives_back_what_a_thread_still_runs(redis: Redis, client: BaseRedisClient) -> None:
    service = PlainService()
    async with working(redis, service) as worker:
        handle = await client.enqueue_action(action("wait"))
        await service.began()
        await soon(worker.stop(0), 5)
        assert await handle.status() is State.READY
    await until(lambda: asyncio.to_thread(lambda: service.reasons))
    assert isinstance(service.reasons[0], WorkerStopping)


async def test_the_reason_of_a_lost_lease_reaches_the_handler(redis: Redis, client: BaseRedisClient) -> None:
    await client.close()
    service = PlainService()
    async with working(redis, service, settings=settings_for(lease_s=1), maintain=False) as worker:
        await worker.redis_client.enqueue_action(action("wait"))
        await service.began()
        await redis.zrem(KEYS.of("workers", DOMAIN), worker.worker_id)
        await until(lambda: asyncio.to_thread(lambda: service.reasons))
    assert isinstance(service.reasons[0], LeaseLost)


async def test_an_async_handler_finds_the_reason_in_its_cancellation(
    redis: Redis, client: BaseRedisClient
) -> None:
    seen: list[Any] = []
    started = asyncio.Event()

    class Asking(BaseService):
        @handles("probe.wait")
        async def wait(self) -> None:
            started.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError as stop:
                seen.append(stop.args[0])
                raise

    async with working(redis, Asking(app_settings=settings_for())):
        handle = await client.enqueue_action(action("wait"))
        await soon(started.wait())
        await handle.cancel()
        with pytest.raises(ActionCancelled):
            await handle.result(10)
    assert isinstance(seen[0], ActionCancelled)


def crunching(**settings: Any) -> CrunchingService:
    return CrunchingService(app_settings=settings_for(handler_processes=2, **settings))


async def test_a_busy_handler_runs_in_another_process_that_is_kept(
    redis: Redis, client: BaseRedisClient
) -> None:
    async with working(redis, crunching()):
        answers = [
            (await client.request(action("crunch", {"of": [1, n]}), 30)).data_as(Where) for n in range(5)
        ]
        assert [each.total for each in answers] == [1, 2, 3, 4, 5]
        assert {each.tenant_id for each in answers} == {"acme"}
        pids = {each.pid for each in answers}
        assert os.getpid() not in pids
        assert len(pids) <= 2
        with pytest.raises(ActionFailed, match=r"data\.of"):
            await client.request(action("crunch", {"of": "x"}), 30)
        with pytest.raises(ActionFailed, match="not ours"):
            await client.request(action("refuse", ""), 30)
        with pytest.raises(ActionFailed, match="OddError: odd 3"):
            await client.request(action("refuse", "odd"), 30)
        with pytest.raises(ActionFailed, match=r"data\.found\[0\] is a builtins\.object"):
            await client.request(action("unwritable"), 30)
    await until(lambda: asyncio.sleep(0, not any(map(alive, pids))), "the processes have ended")


async def test_a_busy_handler_is_killed_and_its_neighbour_is_not(
    redis: Redis, client: BaseRedisClient, tmp_path: Path
) -> None:
    async with working(redis, crunching()):
        one, two = tmp_path / "one", tmp_path / "two"
        cancelled = await client.enqueue_action(action("busy", str(one)))
        stays = await client.enqueue_action(action("busy", str(two)))
        killed, kept = await pid_in(one), await pid_in(two)
        assert await cancelled.cancel()
        with pytest.raises(ActionCancelled):
            await cancelled.result(10)
        await until(lambda: asyncio.sleep(0, not alive(killed)), "it is dead")
        with pytest.raises(ActionTimeout):
            await (await client.enqueue_action(action("hasty"))).result(20)
        assert alive(kept)
        assert (await client.request(action("crunch", {"of": [1]}), 30)).data["total"] == 1
    await until(lambda: asyncio.sleep(0, not alive(kept)), "stopping the worker ends it")
    assert await stays.status() is State.READY


async def test_a_process_that_dies_is_an_attempt_that_failed(
    redis: Redis, client: BaseRedisClient, tmp_path: Path
) -> None:
    async with working(redis, crunching()):
        assert (await client.request(action("suicide", str(tmp_path / "died")), 30)).data == "survived"
        with pytest.raises(ActionFailed, match=r"the process that ran the handler died \(exit code 3\)"):
            await (await client.enqueue_action(action("doomed"))).result(30)


async def pid_in(path: Path) -> int:
    text = await until(lambda: asyncio.to_thread(lambda: path.exists() and path.read_text()), str(path), 30)
    return int(text)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except (FileNotFoundError, ProcessLookupError):  # it may go while we read
        return False


def test_what_cannot_run_where_it_was_asked_to_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="make it a plain `def`"):

        @handles("probe.x", run_in="process")
        async def x(data: int) -> None: ...

    with pytest.raises(ConfigurationError, match="yields"):

        @handles("probe.x")
        def generates(self: Any) -> Any:
            yield 1

    with pytest.raises(ConfigurationError, match="not 'thread' or 'process'"):
        handles("probe.x", run_in="fiber")(lambda: None)  # type: ignore[arg-type]

    with pytest.raises(ConfigurationError, match="make it a @staticmethod"):

        class WithSelf(BaseService):
            @handles("probe.x", run_in="process")
            def x(self, data: int) -> None: ...

    with pytest.raises(ConfigurationError, match="define Inner at a module's top"):

        class Inner(BaseService):
            @handles("probe.x", run_in="process")
            @staticmethod
            def x(data: int) -> None: ...

    with pytest.raises(ConfigurationError, match="nothing there can fill 'token'"):
        type(
            "AtTop",
            (BaseService,),
            {"__module__": __name__, "__qualname__": "AtTop", "x": staticmethod(_with_token)},
        )


@handles("probe.x", run_in="process")
def _with_token(data: int, token: CancelToken) -> None: ...


async def test_plain_handlers_work_without_a_worker() -> None:
    service = PlainService()
    told = await service.process_action(action("later"))
    assert told is False
    waiting = asyncio.create_task(service.process_action(action("wait")))
    await service.began()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await until(lambda: asyncio.to_thread(lambda: service.reasons))
    service.pools.threads.close()
