"""Answers of an engine under a test's control."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any


class Awaited:
    """An answer that the test gives, to be awaited as on a client of its own."""

    def __init__(self, future: asyncio.Future[Any], finishes: int) -> None:
        self.future = future
        self.finishes = finishes

    def __await__(self) -> Any:
        return self._answer().__await__()

    async def _answer(self) -> Any:
        return [True] * self.finishes, await self.future


class Told(Awaited):
    """One that is told, as on the shared connection; one that is unusual has to be awaited there, too."""

    def tell(self, told: Callable[[Any], None]) -> bool:
        def answered(future: asyncio.Future[Any]) -> None:
            usual = future.exception() is None and not future.result().lost
            told(([True] * self.finishes, future.result()) if usual else None)

        self.future.add_done_callback(answered)
        return True
