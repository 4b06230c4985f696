"""`nooble call`: what it says when somebody ends it."""

from __future__ import annotations

import asyncio

import pytest

from nooble_tasks import ActionHandle, BaseRedisClient, State
from nooble_tasks.cli import console, send
from tests.nooble_tasks.support import DOMAIN, soon


async def test_who_stops_waiting_is_told_that_the_action_goes_on(
    redis_url: str,
    client: BaseRedisClient,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    waits: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def response(handle: ActionHandle, timeout: float) -> None:
        waits.set_result(handle.action_id)
        await asyncio.Event().wait()

    monkeypatch.setenv("NOOBLE_REDIS_URL", redis_url)
    monkeypatch.setattr(ActionHandle, "response", response)
    console.err.cache_clear()
    calling = asyncio.create_task(send._call(f"{DOMAIN}.echo", 1, "acme", {}, 30))
    action_id = await soon(waits)
    calling.cancel()  # as Ctrl-C does
    with pytest.raises(asyncio.CancelledError):
        await calling
    console.err.cache_clear()
    told = capsys.readouterr().err
    assert f"action {action_id} goes on" in told
    assert f"`nooble cancel {action_id}`" in told
    assert (await client.inspector.why(action_id)).state is State.READY
