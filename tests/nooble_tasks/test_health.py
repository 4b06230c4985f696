"""Whether a worker lives and is ready, and what it says of a blocked event loop."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest
from redis.asyncio import Redis

from nooble_tasks import BaseRedisClient, HealthServer, Readiness, handles
from tests.nooble_tasks.support import DOMAIN, KEYS, ProbeService, action, settings_for, soon, until, working


class BlockingService(ProbeService):
    @handles("probe.block")
    async def block(self, data: float) -> str:
        time.sleep(data)  # noqa: ASYNC251 - blocking the loop is what this is about
        return "done"


async def ask(server: HealthServer, raw: bytes) -> tuple[int, dict[str, Any]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(raw)
    head, _, body = (await soon(reader.read())).partition(b"\r\n\r\n")
    writer.close()
    await writer.wait_closed()
    return int(head.split(b" ")[1]), json.loads(body)


async def get(server: HealthServer, path: str) -> tuple[int, dict[str, Any]]:
    return await ask(server, f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())


async def test_a_worker_lives_and_is_ready_until_it_is_quiet(
    redis: Redis, client: BaseRedisClient, probe: ProbeService
) -> None:
    async with working(redis, probe) as worker, HealthServer(worker, 0) as server:
        assert await get(server, "/health/live") == (200, {"status": "live"})
        code, said = await get(server, "/health/ready?full")
        assert (code, said["status"], said["worker_id"]) == (200, "ready", worker.worker_id)
        worker.quiet()
        code, said = await get(server, "/health/ready")
        assert (code, said["reasons"]) == (503, ["the worker is quiet"])
        worker.resume()
        assert (await get(server, "/health/ready"))[0] == 200
        await redis.zrem(KEYS.of("workers", DOMAIN), worker.worker_id)
        assert (await get(server, "/health/ready"))[1]["reasons"] == ["not registered in probe"]


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"GET /metrics HTTP/1.1\r\n\r\n", 404),
        (b"POST /health/live HTTP/1.1\r\n\r\n", 405),
        (b"\x16\x03\x01" + b"x" * 20_000, 400),
        (b"\r\n\r\n", 405),
    ],
)
async def test_what_is_no_probe(redis: Redis, probe: ProbeService, raw: bytes, code: int) -> None:
    async with working(redis, probe) as worker, HealthServer(worker, 0) as server:
        assert (await ask(server, raw))[0] == code


async def test_not_ready_without_redis(disposable_server: Any) -> None:
    from tests.nooble_tasks.support import connect

    redis, probe = connect(disposable_server.url), ProbeService()
    async with working(redis, probe) as worker:
        readiness = Readiness(worker, 60)
        assert (await readiness.check()).ready
        disposable_server.stop()
        health = await readiness.check()
        assert not health.ready
        assert "Redis does not answer" in health.reasons[0]
    await redis.aclose()


async def test_not_ready_when_work_waits_and_nothing_moves(
    redis: Redis, client: BaseRedisClient, probe: ProbeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = 1000.0
    async with working(redis, probe, concurrency=2) as worker:
        readiness = Readiness(worker, 60, steady_s=lambda: now_s)
        assert (await readiness.check()).ready
        monkeypatch.setattr(worker._turns, "begin", lambda **_: False)  # a worker that has lost its way
        await client.enqueue_action(action("echo"))
        assert (await readiness.check()).ready, "it has only just come"
        now_s += 59
        assert (await readiness.check()).ready
        now_s += 2
        health = await readiness.check()
        assert health.reasons == ["work waits, and nothing has started or ended for 61 s"]
        monkeypatch.undo()
        worker._rest.end()

        async def ready() -> bool:
            return (await readiness.check()).ready

        await until(ready)


async def test_a_worker_whose_slots_are_all_taken_is_not_stuck(
    redis: Redis, client: BaseRedisClient, probe: ProbeService
) -> None:
    now_s = 1000.0
    async with working(redis, probe, concurrency=1) as worker:
        readiness = Readiness(worker, 60, steady_s=lambda: now_s)
        await client.enqueue_action(action("wait"))
        await probe.next_started()
        await client.enqueue_action(action("echo"))
        assert (await readiness.check()).ready
        now_s += 100
        assert (await readiness.check()).ready


async def test_a_blocked_loop_is_told_with_the_handlers_name_and_place(
    redis: Redis, client: BaseRedisClient, caplog: pytest.LogCaptureFixture
) -> None:
    settings = settings_for(blocked_loop_s=0.1)
    await client.close()
    async with working(redis, BlockingService(), settings=settings) as worker:
        handle = await worker.redis_client.enqueue_action(action("block", 0.8))
        assert await handle.result(10) == "done"
        await until(lambda: asyncio.sleep(0.01, "the event loop turns again" in caplog.text))
        await worker.redis_client.close()
    told = [record.getMessage() for record in caplog.records if "has been blocked" in record.getMessage()]
    assert f"by the handler of probe.block, action {handle.action_id} of acme" in told[0]
    assert "time.sleep(data)" in told[0]
    assert len(told) <= 4, "told again only when it has lasted twice as long"


async def test_a_loop_that_turns_is_not_told_about(
    redis: Redis, client: BaseRedisClient, probe: ProbeService, caplog: pytest.LogCaptureFixture
) -> None:
    settings = settings_for(blocked_loop_s=5)
    await client.close()
    async with working(redis, probe, settings=settings) as worker:
        await worker.redis_client.request(action("echo", 1), 10)
        await worker.redis_client.close()
    assert "blocked" not in caplog.text
