"""How long who was held by what: kept up to date while a simulation runs."""

from __future__ import annotations

import math
from typing import NamedTuple


class Held(NamedTuple):
    """From ``from_ms`` to ``until_ms`` nothing of ``scope`` (``tenant:tier``, or ``*:tier``) could start."""

    scope: str
    why: str
    from_ms: int
    until_ms: int


class HeldTime:
    """Holds that are open, and those that are over.

    A tenant's hold ends when its limit frees, which the engine said when it began, or earlier, when it is
    seen to start something; a hold by concurrency ends when one of its actions does.
    """

    def __init__(self) -> None:
        self.over: list[Held] = []
        self._open: dict[str, tuple[str, int, float]] = {}

    def begin(self, scope: str, why: str, now_ms: int, free_at_ms: float) -> None:
        """The engine holds ``scope`` from now on."""
        self.end(scope, now_ms)
        self._open[scope] = (why, now_ms, free_at_ms)

    def finished(self, scope: str, now_ms: int) -> None:
        """An action of ``scope`` has ended: that frees its concurrency."""
        if scope in self._open and self._open[scope][2] == math.inf:
            self.end(scope, now_ms)

    def end(self, scope: str, now_ms: int) -> None:
        """It is not held any more, if it was."""
        if scope not in self._open:
            return
        why, from_ms, free_at_ms = self._open.pop(scope)
        until_ms = now_ms if free_at_ms > now_ms else max(math.ceil(free_at_ms), from_ms)
        if until_ms > from_ms:
            self.over.append(Held(scope, why, from_ms, until_ms))

    def end_all(self, now_ms: int) -> None:
        """The simulation is over."""
        for scope in list(self._open):
            self.end(scope, now_ms)

    def is_held(self, scope: str, now_ms: int) -> bool:
        """Whether it is held now."""
        return scope in self._open and self._open[scope][2] > now_ms
