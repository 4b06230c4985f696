"""A worker on a real server: how many at once, woken and not polling, again and again, limits of time."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from redis.asyncio import Redis

from nooble_tasks import (
    ActionCancelled,
    ActionExpired,
    ActionFailed,
    ActionTimeout,
    BaseRedisClient,
    BaseService,
    BaseWorker,
    ConfigurationError,
    DomainAction,
    ExecutionContext,
    Retry,
    handles,
)
from nooble_tasks._engine import State
from tests.conftest import ExpectCleanKeys
from tests.nooble_tasks.support import (
    AT_ONCE,
    ProbeService,
    action,
    dead_letters,
    is_asleep,
    put_raw,
    settings_for,
    soon,
    stored_response,
    until,
    working,
)


class OtherService(BaseService):
    @handles("other.name")
    async def name(self, action: DomainAction) -> str:
        return f"other for {action.tenant_id}"


class TryingService(ProbeService):
    retry_policy = AT_ONCE

    def __init__(self) -> None:
        super().__init__()
        self.order: list[tuple[Any, int]] = []

    @handles("probe.twice")
    async def twice(self, data: Any, context: ExecutionContext) -> int:
        self.order.append((data, context.attempt))
        if data == "first" and context.attempt == 1:
            raise Retry(0, "once more")
        return context.attempt

    @handles("probe.long", timeout=0.1)
    async def long(self, context: ExecutionContext) -> None:
        self.attempts.append(context.attempt)
        await asyncio.Event().wait()


async def test_as_many_as_there_are_slots_and_never_more(
    redis: Redis, client: BaseRedisClient, probe: ProbeService, expect_clean_keys: ExpectCleanKeys
) -> None:
    expect_clean_keys()
    async with working(redis, probe, concurrency=7, grace_s=5) as worker:
        handles_ = await client.enqueue_actions([action("wait", n) for n in range(40)])
        for _ in range(7):
            await probe.next_started()
        assert worker.running == probe.running == 7
        probe.gate.set()
        assert [await each.result(10) for each in handles_] == list(range(40))
    assert probe.most_running == 7
    assert len(probe.calls) == 40


async def test_one_slot_runs_one_at_a_time_in_order(
    redis: Redis, client: BaseRedisClient, probe: ProbeService
) -> None:
    probe.gate.set()
    async with working(redis, probe, concurrency=1, grace_s=5):
        sent = await client.enqueue_actions([action("wait", n) for n in range(20)])
        await asyncio.gather(*(each.result(10) for each in sent))
    assert probe.most_running == 1
    assert [each.data for each in probe.calls] == list(range(20))


async def test_several_domains_in_one_process_share_the_slots(
    redis: Redis, client: BaseRedisClient, probe: ProbeService
) -> None:
    other = OtherService(app_settings=settings_for("other"))
    async with working(redis, [probe, other], concurrency=2):
        assert (await client.request(action("echo", 1), 10)).data == 1
        answer = await client.request(action("name", domain="other"), 10)
        assert answer.data == "other for acme"
        await client.enqueue_actions([action("wait", n) for n in range(2)])
        await probe.next_started()
        await probe.next_started()
        waiting = await client.enqueue_action(action("name", domain="other"))
        assert await waiting.status() is State.READY
        probe.gate.set()
        assert await waiting.result(10) == "other for acme"


async def test_a_wake_up_that_finds_no_free_slot_goes_on_to_another_worker(
    redis: Redis, client: BaseRedisClient, probe: ProbeService
) -> None:
    """A worker of several domains sleeps in all of them; by the time it is woken its slots may be taken."""
    helper = OtherService(app_settings=settings_for("other"))
    both = OtherService(app_settings=settings_for("other"))
    async with (
        working(redis, helper, concurrency=1, maintain=False),
        working(redis, [probe, both], concurrency=1, maintain=False),
    ):
        await client.enqueue_action(action("wait"))
        await probe.next_started()
        for _ in range(3):
            assert (await client.request(action("name", domain="other"), 5)).data == "other for acme"
        probe.gate.set()


async def test_what_a_worker_cannot_be_made_of(redis: Redis, probe: ProbeService) -> None:
    settings = settings_for()
    with pytest.raises(ConfigurationError, match="both serve the domain 'probe'"):
        BaseWorker(settings, redis, [probe, ProbeService()])
    with pytest.raises(ConfigurationError, match="at least one service"):
        BaseWorker(settings, redis, [])
    for concurrency in (0, -1):
        with pytest.raises(ConfigurationError, match="concurrency"):
            BaseWorker(settings, redis, probe, concurrency=concurrency)


async def test_a_sleeping_worker_asks_for_nothing_until_it_is_woken(
    redis: Redis, client: BaseRedisClient, probe: ProbeService
) -> None:
    async with working(redis, probe, maintain=False) as worker:
        assert (await client.request(action("echo", 1), 10)).data == 1  # everything is connected now
        await until(lambda: is_asleep(redis, worker))
        sleeping = await redis.info("commandstats")
        for _ in range(500):
            await redis.ping()
        between = await redis.info("commandstats")
        assert _issued(sleeping, between) == {"info", "ping"}, "the worker is silent"
        assert (await client.request(action("echo", 2), 10)).data == 2
        woken = await redis.info("commandstats")
    assert {"evalsha", "blpop"} <= _issued(between, woken)


def _issued(before: dict[str, Any], after: dict[str, Any]) -> set[str]:
    return {name.removeprefix("cmdstat_") for name, each in after.items() if each != before.get(name)}


async def test_a_retried_action_runs_again_before_the_backlog(redis: Redis, client: BaseRedisClient) -> None:
    service = TryingService()
    sent = [await client.enqueue_action(action("twice", name)) for name in ("first", "b", "c", "d")]
    async with working(redis, service, concurrency=1):
        assert [await each.result(10) for each in sent] == [2, 1, 1, 1]
    order = [name for name, _ in service.order]
    assert service.order[0] == ("first", 1)
    assert order.index("first", 1) < order.index("d"), order
    assert ("first", 2) in service.order


async def test_a_handler_that_runs_too_long_is_stopped_and_answered(
    redis: Redis, client: BaseRedisClient
) -> None:
    service = TryingService()
    async with working(redis, service):
        with pytest.raises(ActionTimeout, match=r"ran longer than its 0\.1 s"):
            await (await client.enqueue_action(action("long"))).result(10)
    assert service.attempts == [1, 2, 3], "a time-out may pass, so all attempts were made"


async def test_the_tiers_time_is_a_limit_too(redis: Redis, client: BaseRedisClient, tmp_path: Any) -> None:
    tiers = tmp_path / "tiers.toml"
    tiers.write_text('default_tier = "enterprise"\n[tiers.enterprise]\npriority = 1\ntimeout = 0.2\n')
    await client.close()
    service = TryingService()
    settings = settings_for(tiers_file=tiers)
    probing = BaseRedisClient("tester", redis, settings)
    async with working(redis, service, settings=settings):
        with pytest.raises(ActionTimeout, match=r"ran longer than its 0\.2 s"):
            await (await probing.enqueue_action(action("wait"))).result(10)
    await probing.close()


async def test_a_running_action_is_cancelled(
    redis: Redis, client: BaseRedisClient, probe: ProbeService
) -> None:
    async with working(redis, probe) as worker:
        handle = await client.enqueue_action(action("wait"))
        other = await client.enqueue_action(action("wait", "stays"))
        await probe.next_started()
        await probe.next_started()
        assert await handle.cancel()
        with pytest.raises(ActionCancelled):
            await handle.result(10)
        assert (await soon(probe.interrupted.get())).action_id == handle.action_id
        assert await handle.status() is State.CANCELLED
        assert worker.running == 1
        probe.gate.set()
        assert await other.result(10) == "stays"


async def test_failures_and_rubbish_are_answered_and_the_worker_lives_on(
    redis: Redis, client: BaseRedisClient, probe: ProbeService
) -> None:
    async with working(redis, probe):
        with pytest.raises(ActionFailed, match="ValueError: no such thing"):
            await (await client.enqueue_action(action("fail"))).result(10)
        await put_raw(redis, "rubbish", b"{")
        await put_raw(redis, "a*b", b"{")

        async def both_dead() -> bool:
            return len(await dead_letters(redis)) == 3

        await until(both_dead, "both are dead letters")
        assert b"invalid_action" in await stored_response(redis, "rubbish")
        assert (await client.request(action("echo", 1), 10)).data == 1


async def test_what_expired_while_it_waited_is_answered_and_not_run(
    redis: Redis, client: BaseRedisClient, probe: ProbeService
) -> None:
    handle = await client.enqueue_action(action("echo"), deadline=0.001)
    engine = client.bus.engine

    async def passed() -> bool:
        return engine.clock.now_ms() > handle.action.deadline.timestamp() * 1000 + 1  # type: ignore[union-attr]

    await until(passed)
    async with working(redis, probe):
        with pytest.raises(ActionExpired):
            await handle.result(10)
    assert not probe.calls


async def test_a_burst_ends_when_nothing_is_left(
    redis: Redis, client: BaseRedisClient, probe: ProbeService, expect_clean_keys: ExpectCleanKeys
) -> None:
    expect_clean_keys()
    sent = await client.enqueue_actions([action("echo", n) for n in range(250)])
    worker = BaseWorker(settings_for(), redis, probe, concurrency=10, burst=True)
    await soon(worker.run())
    assert len(probe.calls) == 250
    assert [await each.result(5) for each in sent] == list(range(250))
    assert not await redis.exists("nooble:probe:workers")


async def test_a_subclass_may_handle_actions_itself(
    redis: Redis, client: BaseRedisClient, probe: ProbeService
) -> None:
    class Counting(BaseWorker):
        async def _handle_action(self, action: DomainAction) -> Any:
            return ["handled", await super()._handle_action(action)]

    async with working(redis, probe, kind=Counting):
        assert (await client.request(action("echo", 1), 10)).data == ["handled", 1]
