"""A bug of ours in the middle of a turn costs that turn, and nothing of what it brought is lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from nooble_tasks import strangers
from nooble_tasks import turns as turns_module
from nooble_tasks._engine import Claim, Claimed
from tests.nooble_tasks.answering import Awaited, Told
from tests.nooble_tasks.test_turns import Table, claimed


@pytest.fixture(params=[Awaited, Told], ids=["awaited", "told"])
async def table(request: pytest.FixtureRequest) -> AsyncIterator[Table]:
    answer_of: Callable[[Any, int], Awaited] = request.param
    table = Table(answer_of)
    yield table
    table.line.forget_timer()
    await table.line.interrupt()


async def test_what_does_not_begin_is_given_back(
    table: Table, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    begin = table.line.admit

    def fails_for_b(action: Claimed) -> None:
        if action.action_id == "b":
            raise RuntimeError("a bug")
        begin(action)

    monkeypatch.setattr(table.line, "admit", fails_for_b)
    _, _, _, answer = await table.asked()
    await table.answer(answer, Claim([claimed(name) for name in "abc"], 0, False))
    assert "a turn broke off" in caplog.text
    assert table.line.unsure
    table.engine.owned = dict.fromkeys((b"a", b"b", b"c"), b"1 acme:enterprise 1-1 1")
    assert table.turns.begin(quiet=False)
    await table.turns.settle()
    assert (sorted(table.engine.released), table.line.running, table.line.unsure) == (["b", "c"], 1, False)


async def test_what_a_claim_took_that_arrived_after_stock_was_taken_is_given_back(
    table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its request was stuck on its way when its connection was given up."""
    monkeypatch.setattr(strangers, "LATER_S", (0.05,))
    monkeypatch.setattr(turns_module, "_BACKOFF_S", (0.0,))
    _, _, _, answer = await table.asked()
    await table.answer(answer, RedisConnectionError("cut"))
    assert table.turns.begin(quiet=False)
    await table.turns.settle()
    assert (table.engine.released, table.line.unsure) == ([], False)
    table.engine.owned = {b"late": b"1 acme:enterprise 1-1 1"}
    table.nudged.clear()
    await asyncio.wait_for(table.nudged.wait(), 5)
    assert table.turns.begin(quiet=False)
    await table.turns.settle()
    assert (table.engine.released, table.line.unsure) == (["late"], False)
