"""Rest between turns: what is usual wakes nobody, what is said twice in a round is done once."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar

from nooble_tasks.rest import Rest
from tests.nooble_tasks.support import soon


async def _rounds(count: int = 3) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_the_usual_is_done_once_per_round_and_the_rest_goes_on() -> None:
    done: list[int] = []

    def usual() -> bool:
        done.append(1)
        return True

    rest = Rest(usual)
    waiting = asyncio.create_task(rest.wait())
    await _rounds()
    rest.nudge()
    rest.nudge()
    assert not done, "whatever else ends in this round belongs to the same turn"
    await _rounds()
    assert len(done) == 1
    rest.nudge()
    await _rounds()
    assert len(done) == 2
    assert not waiting.done()
    rest.end()
    await soon(waiting)


async def test_what_is_not_usual_ends_the_rest() -> None:
    rest = Rest(lambda: False)
    waiting = asyncio.create_task(rest.wait())
    await _rounds()
    rest.nudge()
    await soon(waiting)


async def test_who_was_told_while_busy_does_not_rest() -> None:
    def usual() -> bool:
        raise AssertionError("who does not rest finds by itself what is to be done")

    rest = Rest(usual)
    rest.nudge()
    await soon(rest.wait())
    waiting = asyncio.create_task(rest.wait())
    await _rounds()
    assert not waiting.done(), "it was told once"
    rest.end()
    await soon(waiting)


async def test_it_ends_by_itself() -> None:
    await soon(Rest(lambda: True).wait(0.01))


async def test_an_error_in_the_usual_ends_the_rest() -> None:
    """Whoever waits tries the same and meets it where it is handled."""
    reported: list[dict[str, object]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: reported.append(context))

    def usual() -> bool:
        raise RuntimeError("nobody foresaw it")

    rest = Rest(usual)
    waiting = asyncio.create_task(rest.wait())
    await _rounds()
    rest.nudge()
    await soon(waiting)
    assert len(reported) == 1
    loop.set_exception_handler(None)


async def test_the_usual_knows_nothing_of_who_said_so() -> None:
    """What it starts would inherit the context of an attempt that has ended."""
    mark = ContextVar("mark", default="nobody's")
    found: list[str] = []

    def usual() -> bool:
        found.append(mark.get())
        return True

    async def attempt() -> None:
        mark.set("an attempt's")
        rest.nudge()

    rest = Rest(usual)
    waiting = asyncio.create_task(rest.wait())
    await _rounds()
    await soon(asyncio.create_task(attempt()))
    await _rounds()
    assert found == ["nobody's"]
    rest.end()
    await soon(waiting)
