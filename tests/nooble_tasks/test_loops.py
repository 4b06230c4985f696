"""Ctrl-C ends a command, also where a cancellation gets lost."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal

import pytest

from nooble_tasks.cli import loops


def press_ctrl_c() -> None:
    os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize("lost", [0, 1, 2])
def test_it_ends_what_swallows_cancellations(monkeypatch: pytest.MonkeyPatch, lost: int) -> None:
    monkeypatch.setattr(loops, "_INSIST_S", 0.01)
    swallowed = 0

    async def command() -> None:
        nonlocal swallowed
        asyncio.get_running_loop().call_soon(press_ctrl_c)
        while swallowed < lost:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
            swallowed += 1
        await asyncio.Event().wait()

    with pytest.raises(KeyboardInterrupt):
        loops.run_async(command())
    assert swallowed == lost


def test_what_a_command_still_says_is_its_result() -> None:
    async def command() -> str:
        asyncio.get_running_loop().call_soon(press_ctrl_c)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "cleaned up"
        return "not interrupted"

    assert loops.run_async(command()) == "cleaned up"


def test_an_error_is_the_commands() -> None:
    async def command() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        loops.run_async(command())
