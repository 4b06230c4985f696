"""One timer for many times: the earliest counts, and it does not ring more often than it should."""

from __future__ import annotations

import asyncio

from nooble_tasks.alarm import Alarm
from tests.nooble_tasks.support import soon


class Rung:
    def __init__(self, gap_s: float = 0.0) -> None:
        self.at: asyncio.Queue[float] = asyncio.Queue()
        self.loop = asyncio.get_running_loop()
        self.alarm = Alarm(lambda: self.at.put_nowait(self.loop.time()), gap_s)

    def set_in(self, *seconds: float) -> None:
        for each in seconds:
            self.alarm.set(self.loop.time() + each)


async def test_the_earliest_rings_once() -> None:
    rung = Rung()
    rung.set_in(60.0, 0.01, 30.0)
    await soon(rung.at.get())
    rung.set_in(0.02)
    await soon(rung.at.get())
    assert rung.at.empty()


async def test_what_was_set_before_it_rang_is_forgotten() -> None:
    rung = Rung()
    rung.set_in(0.02, 0.01)
    await soon(rung.at.get())
    passed = asyncio.Event()
    rung.loop.call_later(0.05, passed.set)
    await soon(passed.wait())
    assert rung.at.empty()


async def test_off() -> None:
    rung = Rung()
    rung.set_in(0.01)
    rung.alarm.off()
    passed = asyncio.Event()
    rung.loop.call_later(0.05, passed.set)
    await soon(passed.wait())
    assert rung.at.empty()
    rung.set_in(0.0)
    await soon(rung.at.get())


async def test_not_more_often_than_asked() -> None:
    rung = Rung(gap_s=0.1)
    rung.set_in(0.0)
    first = await soon(rung.at.get())
    rung.set_in(0.0)
    assert await soon(rung.at.get()) - first > 0.09
