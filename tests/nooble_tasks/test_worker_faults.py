"""A worker in trouble: lost leases, blocked loops, killed connections, lost answers."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoPermissionError

from nooble_tasks import ActionFailed, BaseRedisClient, BaseService, BaseWorker, DomainAction, handles
from nooble_tasks import heartbeat as heartbeat_module
from nooble_tasks._engine import Claim
from nooble_tasks.membership import Membership
from tests.nooble_tasks.support import (
    DOMAIN,
    KEYS,
    ProbeService,
    action,
    settings_for,
    soon,
    stored_response,
    until,
    working,
)

pytestmark = pytest.mark.faults
WORKERS = KEYS.of("workers", DOMAIN)


class BlockingService(ProbeService):
    @handles("probe.block")
    async def block(self, data: float) -> str:
        self.started.put_nowait(action())
        time.sleep(data)  # noqa: ASYNC251 - blocking the loop is what this is about
        return "done"


async def rejoined(redis: Redis, worker: BaseWorker, old: str) -> Any:
    registered = await redis.zscore(WORKERS, worker.worker_id)
    return worker.worker_id != old and registered is not None


async def test_a_lost_lease_stops_what_runs_and_the_worker_comes_back(
    redis: Redis, client: BaseRedisClient, probe: ProbeService
) -> None:
    settings = settings_for(lease_s=1)
    await client.close()
    async with working(redis, probe, settings=settings, maintain=False) as worker:
        old = worker.worker_id
        handle = await worker.redis_client.enqueue_action(action("wait"))
        await probe.next_started()
        await redis.zrem(WORKERS, old)  # what another's reclaim would do
        assert (await soon(probe.interrupted.get())).action_id == handle.action_id
        await until(lambda: rejoined(redis, worker, old))
        assert await stored_response(redis, handle.action_id) is None, "nothing was written"
        assert (await worker.redis_client.request(action("echo", 1), 10)).data == 1


async def test_what_was_reclaimed_runs_again_and_is_answered_once(
    redis: Redis, client: BaseRedisClient, probe: ProbeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    await client.close()
    beating = heartbeat_module.Heartbeat._beat
    silent = True

    def beat(self: heartbeat_module.Heartbeat, connection: Any) -> None:
        if not silent:
            beating(self, connection)

    monkeypatch.setattr(heartbeat_module.Heartbeat, "_beat", beat)
    async with working(redis, probe, settings=settings_for(lease_s=1), maintain=False) as worker:
        engine, old = worker.bus.engine, worker.worker_id
        handle = await worker.redis_client.enqueue_action(action("wait", "x"))
        await probe.next_started()

        async def reclaimed() -> bool:
            return (await engine.reclaim(DOMAIN)).actions == 1

        await until(reclaimed, "the lease ends")
        assert worker.running == 1, "it does not know yet"
        silent = False
        await soon(probe.interrupted.get())
        await until(lambda: rejoined(redis, worker, old))
        await probe.next_started()
        probe.gate.set()
        assert await handle.result(10) == "x"
    assert probe.attempts == [1, 2]
    assert await redis.llen(KEYS.response(DOMAIN, handle.action_id)) == 1  # type: ignore[misc]


async def test_the_outcome_of_what_belongs_to_others_is_refused(
    redis: Redis, client: BaseRedisClient, probe: ProbeService, caplog: pytest.LogCaptureFixture
) -> None:
    await client.close()
    async with working(redis, probe, settings=settings_for(lease_s=3)) as worker:
        handle = await worker.redis_client.enqueue_action(action("wait"))
        await probe.next_started()
        await redis.zadd(WORKERS, {worker.worker_id: 1})
        assert (await worker.bus.engine.reclaim(DOMAIN)).actions == 1
        probe.gate.set()
        assert await handle.result(10) is not None
    assert probe.attempts == [1, 2]
    assert "was refused" in caplog.text


async def test_the_lease_is_kept_while_a_handler_blocks_the_loop(
    redis: Redis, client: BaseRedisClient
) -> None:
    await client.close()
    service = BlockingService()
    async with working(redis, service, settings=settings_for(lease_s=1), maintain=False) as worker:
        old = worker.worker_id
        handle = await worker.redis_client.enqueue_action(action("block", 1.6))
        assert await handle.result(10) == "done"
        assert worker.worker_id == old
        assert (await worker.bus.engine.reclaim(DOMAIN)).workers == 0


async def test_killed_connections_are_made_again(
    redis: Redis, client: BaseRedisClient, probe: ProbeService
) -> None:
    async with working(redis, probe) as worker:
        old = worker.worker_id
        handle = await client.enqueue_action(action("wait", "x"))
        await probe.next_started()
        for each in await redis.client_list():
            if each["cmd"] not in ("flushall", "client|list", "client"):  # the fixtures' and our own
                await redis.client_kill_filter(_id=each["id"])
        probe.gate.set()
        assert await handle.result(10) == "x"

        async def answered() -> bool:
            later = await client.send_action_pseudo_sync(action("echo", 1), 5)
            return later is not None and later.data == 1

        await until(answered)
        assert worker.worker_id == old
    assert probe.attempts == [1]


async def test_a_claim_whose_answer_got_lost_is_made_good(
    redis: Redis, client: BaseRedisClient, probe: ProbeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = client.bus.engine
    claim = engine.finish_and_claim
    lost: list[str] = []

    async def losing(*args: Any) -> tuple[list[bool], Claim]:
        answer = await claim(*args)
        if answer[1].actions and not lost:
            lost.extend(each.action_id for each in answer[1].actions)
            raise RedisConnectionError("the link broke before the answer came")
        return answer

    monkeypatch.setattr(engine, "finish_and_claim", losing)
    async with working(redis, probe):
        handle = await client.enqueue_action(action("wait", "x"))
        await probe.next_started()
        assert lost == [handle.action_id]
        probe.gate.set()
        assert await handle.result(10) == "x"
    assert probe.attempts == [1]


async def test_only_what_nobody_knows_is_given_back(
    redis: Redis, client: BaseRedisClient, probe: ProbeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = client.bus.engine
    claim = engine.finish_and_claim
    async with working(redis, probe, concurrency=10):
        first = await client.enqueue_actions([action("wait", n) for n in range(3)])
        for _ in first:
            await probe.next_started()
        times = 0

        async def losing(*args: Any) -> tuple[list[bool], Claim]:
            nonlocal times
            answer = await claim(*args)
            times += 1
            if times == 1:
                raise RedisConnectionError("the link broke before the answer came")
            return answer

        monkeypatch.setattr(engine, "finish_and_claim", losing)
        second = await client.enqueue_actions([action("wait", n) for n in range(3, 5)])
        for _ in second:
            await probe.next_started()
        probe.gate.set()
        assert [await each.result(10) for each in (*first, *second)] == [0, 1, 2, 3, 4]
    assert probe.attempts == [1] * 5


async def test_a_handler_whose_inner_task_was_cancelled_is_answered(
    redis: Redis, client: BaseRedisClient
) -> None:
    class Inner(BaseService):
        @handles("probe.inner")
        async def inner(self, action: DomainAction) -> None:
            task = asyncio.ensure_future(asyncio.Event().wait())
            task.cancel()
            await task

    async with working(redis, Inner(app_settings=settings_for())) as worker:
        with pytest.raises(ActionFailed, match="something the handler awaited was cancelled"):
            await (await client.enqueue_action(action("inner"))).result(10)
        assert worker.running == 0


async def test_a_worker_that_starts_while_redis_stumbles_starts_when_it_answers(
    redis: Redis, probe: ProbeService, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    failing = 2
    join = Membership.join

    async def stumble(self: Membership) -> None:
        nonlocal failing
        failing -= 1
        if failing >= 0:
            raise RedisConnectionError("not yet")
        await join(self)

    monkeypatch.setattr(Membership, "join", stumble)
    monkeypatch.setattr("nooble_tasks.worker._REJOIN_S", 0.01)
    async with working(redis, probe) as worker:
        assert await soon(worker.redis_client.request(action("echo", 1), 10))
    assert caplog.text.count("starting: not yet") == 2


async def test_a_worker_that_may_not_work_says_so_and_ends(
    redis: Redis, probe: ProbeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(self: Membership) -> None:
        raise NoPermissionError("this user has no permissions")

    monkeypatch.setattr(Membership, "join", refuse)
    worker = BaseWorker(probe.app_settings, redis, probe)
    with pytest.raises(NoPermissionError):
        await soon(worker.run())
    await worker.bus.close()
