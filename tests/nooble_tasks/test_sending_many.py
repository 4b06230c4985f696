"""Long lists: checked before anything is written, sent in short calls, and safe to send again."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from nooble_tasks import BaseRedisClient, InvalidTime, PayloadTooLarge, QueueUnavailable
from tests.nooble_tasks.support import action


async def _in_line(redis: Any) -> int:
    return int((await redis.hget("nooble:probe:waiting", "acme:enterprise")) or 0)


async def test_one_that_is_wrong_keeps_all_out(redis: Redis, client: BaseRedisClient) -> None:
    actions = [action("echo", n) for n in range(2_000)] + [action("echo", "x" * 2_000_000)]
    with pytest.raises(PayloadTooLarge):
        await client.enqueue_actions(actions)
    assert await _in_line(redis) == 0


async def test_half_way_without_a_connection(
    redis: Redis, client: BaseRedisClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    actions = [action("echo", n) for n in range(2_500)]
    send, sent = client.bus.engine.redis.execute_together, []

    async def breaks(commands: list[tuple[object, ...]]) -> list[object]:
        sent.append(len(commands))
        if len(sent) == 2:
            raise RedisConnectionError("gone")
        return list(await send(commands))

    monkeypatch.setattr(client.bus.engine.redis, "execute_together", breaks)
    with pytest.raises(QueueUnavailable, match="gone"):
        await client.enqueue_actions(actions)
    assert await _in_line(redis) == 1_000
    handles = await client.enqueue_actions(actions)
    assert [handle.accepted for handle in handles] == [False] * 1_000 + [True] * 1_500
    assert [handle.action_id for handle in handles] == [each.action_id for each in actions]
    assert await _in_line(redis) == 2_500
    assert sent == [10, 10, 10, 10, 5]


async def test_others_have_their_turn_while_many_are_prepared(client: BaseRedisClient) -> None:
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    await client.enqueue_actions([action("echo")])
    running, prepared_at = asyncio.create_task(other()), []
    send = client.bus.engine.enqueue
    client.bus.engine.enqueue = lambda *args: prepared_at.append(turns) or send(*args)  # type: ignore
    await client.enqueue_actions([action("echo", n) for n in range(2_000)])
    running.cancel()
    assert prepared_at[0] >= 4


async def test_all_of_them_later(redis: Redis, client: BaseRedisClient) -> None:
    due = datetime.now(UTC) + timedelta(hours=1)
    first = await client.enqueue_actions([action("echo", n) for n in range(3)], run_at=due)
    then = await client.enqueue_actions([action("echo", n) for n in range(2)], delay=7_200)
    scheduled = dict(await redis.zrange("nooble:probe:scheduled", 0, -1, withscores=True))
    assert {scheduled[each.action_id.encode()] for each in first} == {int(due.timestamp() * 1000)}
    (late,) = {scheduled[each.action_id.encode()] for each in then}
    assert 3_590_000 < late - due.timestamp() * 1000 < 3_610_000
    assert await _in_line(redis) == 0


async def test_not_both_a_delay_and_a_moment(client: BaseRedisClient) -> None:
    with pytest.raises(InvalidTime, match="not both"):
        await client.enqueue_actions([action()], delay=1, run_at=datetime.now(UTC))
