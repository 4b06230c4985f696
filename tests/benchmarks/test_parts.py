"""Where the time of a send goes: every part has a figure, and nothing is left in the way."""

from __future__ import annotations

import pytest
from redis.asyncio import Redis

from benchmarks import parts


async def test_every_part_has_a_figure(redis: Redis, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "ROUNDS", 2)
    monkeypatch.setattr(parts, "SENDS", 100)
    monkeypatch.setattr(parts, "BATCH", 20)
    row = await parts.main(redis_url)
    wholes = {f"{how}_{what}" for how in ("one", "bulk") for what in ("wall", "client_cpu", "script")}
    assert row.keys() >= wholes | {"making", "preparing", "json", "bare_wall", "bare_client_cpu"}
    assert all(one["us"] > 0 for one in row.values())
    assert row["json"]["us"] < row["one_sending"]["us"] < 10_000
    # Two rounds one by one and two in bulk were really sent, and the actions that begin it.
    assert sum([await redis.xlen(name) async for name in redis.scan_iter("bench:*")]) == 4 * 100 + 20
