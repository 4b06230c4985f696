"""How waiting callers get their answers: many over one connection, announcements or not."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any, cast

import pytest
from redis.asyncio import Redis

from nooble_tasks import ActionTimeout, BaseRedisClient, DomainActionResponse, InvalidResponse
from nooble_tasks._engine import Finish, Keys, Outcome
from nooble_tasks.replies import ReplyListener
from tests.nooble_tasks.support import DOMAIN, ProbeService, action, soon, until, working

MANY = 10_000


async def answer_everything(client: BaseRedisClient, expected: int, worker: str = "w1") -> None:
    """A worker of few words: claims, and finishes each action with its own number."""
    engine = client.bus.engine
    await engine.extend(DOMAIN, worker, register=True)
    answered = 0
    while answered < expected:
        claim = await engine.claim(DOMAIN, worker, 500)
        finishes = [
            Finish(
                claimed,
                Outcome.COMPLETED,
                DomainActionResponse(
                    success=True, data=1, action_id=claimed.action_id, tenant_id=claimed.tenant_id
                ).to_json(),
            )
            for claimed in claim.actions
        ]
        await engine.finish(DOMAIN, worker, finishes)
        answered += len(finishes)


async def readers(redis: Redis) -> int:
    """Connections that block on a list now."""
    found = cast("list[dict[str, Any]]", await redis.client_list())
    return sum(connection["cmd"].startswith("blpop") for connection in found)


@pytest.mark.timeout(90)
async def test_ten_thousand_callers_wait_over_one_connection(redis: Redis, client: BaseRedisClient) -> None:
    calls = [asyncio.create_task(client.request(action(), 60)) for _ in range(MANY)]
    await until(lambda: _waiting(redis, MANY), "all are in line", 45)
    assert await readers(redis) == 1
    responses, _ = await soon(asyncio.gather(asyncio.gather(*calls), answer_everything(client, MANY)), 60)
    assert sorted(response.action_id for response in responses) == sorted(
        {response.action_id for response in responses}
    )
    assert len(responses) == MANY


async def test_who_asks_for_a_result_needs_no_connection_of_his_own(
    redis: Redis, client: BaseRedisClient
) -> None:
    """It is looked for first, on the connection that all calls share."""
    handles = await client.enqueue_actions([action() for _ in range(50)])
    before = len(await redis.client_list())
    waiting = [asyncio.create_task(handle.result(20)) for handle in handles]
    await answer_everything(client, 50)
    assert await soon(asyncio.gather(*waiting)) == [1] * 50
    assert len(await redis.client_list()) <= before + 2, "the reader, and one for other commands"


async def _waiting(redis: Redis, count: int) -> bool:
    return await cast("Awaitable[int]", redis.hlen("nooble:probe:actions")) == count


async def test_a_lost_announcement_costs_no_answer(
    redis: Redis, client: BaseRedisClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nooble_tasks.replies.BLOCK_S", 0.1)
    call = asyncio.create_task(client.request(action(), 20))
    await until(lambda: _waiting(redis, 1), "it is in line")
    client.bus.replies.client_id, listening = "somebody-else", client.bus.replies.client_id
    await redis.delete(f"nooble:probe:notify:{listening}")
    client.bus.replies.client_id = listening
    engine = client.bus.engine
    await engine.extend(DOMAIN, "w1", register=True)
    (claimed,) = (await engine.claim(DOMAIN, "w1", 1)).actions
    said = DomainActionResponse(success=True, data=1, action_id=claimed.action_id, tenant_id="acme")
    silent = claimed._replace(reply_to="*")  # stored, announced to nobody
    await engine.finish(DOMAIN, "w1", [Finish(silent, Outcome.COMPLETED, said.to_json())])
    assert (await soon(call)).data == 1


async def test_a_cut_connection_of_the_reader_costs_no_answer(
    redis: Redis, client: BaseRedisClient, probe: ProbeService
) -> None:
    async with working(redis, probe):
        call = asyncio.create_task(client.request(action("wait", 5), 20))
        await soon(probe.next_started())
        for connection in cast("list[dict[str, Any]]", await redis.client_list()):
            if connection["cmd"].startswith("blpop"):
                await redis.client_kill_filter(_id=connection["id"])
        probe.gate.set()
        assert (await soon(call)).data == 5


async def test_the_answer_to_another_request_is_refused(redis: Redis, client: BaseRedisClient) -> None:
    sent = action()
    other = DomainActionResponse(success=True, data="secret", action_id="x", tenant_id="other")
    await cast("Awaitable[int]", redis.rpush(f"nooble:probe:resp:{sent.action_id}", other.to_json()))
    handle = await client.enqueue_action(sent)
    with pytest.raises(InvalidResponse, match="another request"):
        await handle.result(5)
    await redis.delete(f"nooble:probe:resp:{sent.action_id}")


async def test_a_large_answer_is_fetched_not_announced(
    redis: Redis, client: BaseRedisClient, probe: ProbeService
) -> None:
    text = "y" * 200_000
    async with working(redis, probe):
        assert (await soon(client.request(action(data=text)))).data == text


async def test_who_gave_up_finds_the_answer_later(
    redis: Redis, client: BaseRedisClient, probe: ProbeService
) -> None:
    async with working(redis, probe):
        handle = await client.enqueue_action(action("wait", "late"))
        await soon(probe.next_started())
        with pytest.raises(ActionTimeout):
            await handle.result(0.05)
        waiting = asyncio.create_task(handle.result(20))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        probe.gate.set()
        assert await handle.result(10) == "late"
        assert await handle.result(10) == "late"
    assert await redis.pttl(f"nooble:probe:resp:{handle.action_id}") > 0


async def test_the_reader_ends_when_nobody_waits(
    redis: Redis, client: BaseRedisClient, probe: ProbeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nooble_tasks.replies.BLOCK_S", 0.1)
    async with working(redis, probe):
        await soon(client.request(action()))
    await until(lambda: _no_reader(redis), "the reader ends")


async def _no_reader(redis: Redis) -> bool:
    return await readers(redis) == 0


async def test_who_is_cancelled_takes_no_answer_from_others(
    redis: Redis, client: BaseRedisClient, probe: ProbeService
) -> None:
    async with working(redis, probe):
        handle = await client.enqueue_action(action("wait", "shared"))
        await soon(probe.next_started())
        waiting = [asyncio.create_task(handle.result(20)) for _ in range(3)]
        await until(lambda: _blocked(redis), "they wait")
        waiting[1].cancel()
        probe.gate.set()
        answers = await soon(asyncio.gather(*waiting, return_exceptions=True))
    assert answers[::2] == ["shared", "shared"]
    assert isinstance(answers[1], asyncio.CancelledError)
    assert not any(client.bus.replies._waiting.values())


async def _blocked(redis: Redis) -> bool:
    return await readers(redis) >= 2  # the worker's and theirs


async def test_an_answer_costs_its_reader_one_command(
    redis: Redis, client: BaseRedisClient, probe: ProbeService
) -> None:
    """Nobody else waits, so there is nothing else to look for, and its connection is kept for the next."""
    async with working(redis, probe):
        await soon(client.request(action()))
        await redis.config_resetstat()
        for n in range(5):
            assert (await soon(client.request(action(data=n)))).data == n
        stats = await redis.info()
        stats |= await redis.info("commandstats")
    assert stats["total_connections_received"] == 0
    assert "cmdstat_lpop" not in stats
    assert "cmdstat_lindex" not in stats


async def test_several_answers_at_once_are_taken_together(redis: Redis) -> None:
    listener = ReplyListener(redis, Keys(), "caller")
    await redis.config_resetstat()
    futures = [listener.expect("shop", f"x{n}") for n in range(50)]
    lines = [f"x{n}\n{n}".encode() for n in range(50)]
    await cast("Awaitable[int]", redis.rpush("nooble:shop:notify:caller", *lines))
    answers = await soon(asyncio.gather(*futures))
    assert answers == [str(n).encode() for n in range(50)]
    stats = await redis.info("commandstats")
    assert stats["cmdstat_lpop"]["calls"] == 1
    for n, future in enumerate(futures):
        listener.forget("shop", f"x{n}", future)
    await listener.close()
