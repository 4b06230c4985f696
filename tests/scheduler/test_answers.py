"""Answers that are told: what cannot be made of the replies is left to who awaits them."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

import pytest

from scheduler import scripts
from scheduler.answers import Answer


class Asked:
    """One reply, there already."""

    def tell(self, told: Any) -> None:
        told([b"reply"])

    def __await__(self) -> Any:
        yield from ()
        return [b"reply"]


class Client:
    def ask(self, commands: Any) -> Asked:
        return Asked()


async def no_answer(coming: Awaitable[list[Any]]) -> int:
    return int((await coming)[0])


async def test_an_answer_that_cannot_be_read_is_to_be_awaited() -> None:
    call = (scripts.load("claim"), "nooble:embedding", ())
    answer: Answer[int] = Answer(Client(), [call], lambda replies: int(replies[0]), no_answer)
    told: list[int | None] = []
    assert answer.tell(told.append)
    assert told == [None]
    with pytest.raises(ValueError, match="reply"):
        await answer
