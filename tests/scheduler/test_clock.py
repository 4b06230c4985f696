"""Clocks: by hand, of this machine, of the server."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import cast

import pytest
from freezegun import freeze_time
from freezegun.api import FrozenDateTimeFactory
from redis.asyncio import Redis

from scheduler import ManualClock, ServerClock, SystemClock


def test_by_hand() -> None:
    clock = ManualClock(1_000)
    assert (clock.now_ms(), clock.advance(5), clock.advance(-7), clock.now_ms()) == (1_000, 1_005, 998, 998)
    clock.set(3)
    assert clock.now_ms() == 3


def test_of_this_machine() -> None:
    with freeze_time("2025-06-15T15:06:40.123Z") as frozen:
        assert SystemClock().now_ms() == 1_750_000_000_123
        cast(FrozenDateTimeFactory, frozen).tick(timedelta(hours=-2))
        assert SystemClock().now_ms() == 1_750_000_000_123 - 7_200_000


class StubServer:
    """A server whose clock is ``ahead`` and whose round trips take what they are told to."""

    def __init__(self, frozen: FrozenDateTimeFactory, ahead: float, trips: list[tuple[float, float]]) -> None:
        self.frozen, self.ahead, self.trips = frozen, ahead, trips

    async def time(self) -> tuple[int, int]:
        there, back = self.trips.pop(0)
        self.frozen.tick(timedelta(seconds=there))
        now = datetime.now(UTC).timestamp() + self.ahead
        self.frozen.tick(timedelta(seconds=back))
        return int(now), round(now % 1 * 1e6)


@pytest.mark.parametrize("ahead", [-3600.0, -0.25, 0.0, 12.5])
async def test_the_shortest_round_trip_decides(ahead: float) -> None:
    with freeze_time("2025-06-15T15:06:40Z") as frozen:
        clock = ServerClock()
        trips = [(0.5, 0.0), (0.002, 0.002), (0.0, 0.5)]
        server = StubServer(cast(FrozenDateTimeFactory, frozen), ahead, trips)
        assert await clock.calibrate(server) == pytest.approx(ahead * 1000, abs=0.1)
        assert clock.calibrated
        assert clock.now_ms() == pytest.approx(datetime.now(UTC).timestamp() * 1000 + ahead * 1000, abs=2)


async def test_of_a_real_server(redis: Redis) -> None:
    clock = ServerClock()
    assert not clock.calibrated
    offset = await clock.calibrate(redis)
    seconds, micros = await redis.time()
    assert abs(offset) < 1000  # the server runs on this machine
    assert abs(clock.now_ms() - (seconds * 1000 + micros // 1000)) < 1000


async def test_setting_this_machines_clock_moves_nothing_but_is_noticed(redis: Redis) -> None:
    clock = ServerClock()
    await clock.calibrate(redis)
    before = clock.now_ms()
    assert not clock.disturbed
    wall = time.time
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "time", lambda: wall() + 7_200)
        assert 0 <= clock.now_ms() - before < 1_000
        assert clock.disturbed
        await clock.calibrate(redis)
        assert not clock.disturbed
        assert 0 <= clock.now_ms() - before < 1_000
