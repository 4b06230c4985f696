"""A bug of ours in the middle of a turn costs that turn, and nothing of what it brought is lost."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

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
