"""What a verb has asked for: awaited as any other, or told as soon as it is there."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Generator, Sequence
from typing import Any, Generic, TypeVar

from . import scripts

T = TypeVar("T")


class Answer(Generic[T]):
    """Calls of scripts that are on their way, where the client can do that, before anybody awaits the answer.

    ``usual`` makes the answer of replies without an error, or says None; ``any_way`` copes with all others
    and may have to ask again.
    """

    __slots__ = ("_any_way", "_asked", "_calls", "_redis", "_usual")

    def __init__(
        self,
        redis: Any,
        calls: Sequence[scripts.Call],
        usual: Callable[[list[Any]], T | None],
        any_way: Callable[[Awaitable[list[Any]]], Coroutine[Any, Any, T]],
    ) -> None:
        self._redis = redis
        self._calls = calls
        self._asked = scripts.ask(redis, calls)
        self._usual = usual
        self._any_way = any_way

    def __await__(self) -> Generator[Any, None, T]:
        return self._any_way(scripts.answers(self._redis, self._calls, self._asked)).__await__()

    def tell(self, told: Callable[[T | None], None]) -> bool:
        """Call it with the answer as soon as that is there, before anybody is woken; with None where it has
        to be awaited. False, and never called, where all answers have to be.
        """
        if self._asked is None:
            return False

        def replied(replies: list[Any] | Exception) -> None:
            if isinstance(replies, Exception):
                return told(None)
            for reply in replies:
                if isinstance(reply, Exception):
                    return told(None)
            try:
                answer = self._usual(replies)
            except Exception:  # who awaits it meets the same, where there is somebody to handle it
                answer = None
            return told(answer)

        self._asked.tell(replied)
        return True
