"""How far a worker is on its way out: running → quiet → draining → stopping."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Literal

State = Literal["running", "quiet", "draining", "stopping"]


class Phase:
    """``quiet``: it claims nothing and stays. ``draining``: it ends when nothing runs any more.

    ``stopping``: it ends within a grace, and gives back what did not end. `on_change` is called whenever the
    state changes.
    """

    def __init__(self, grace_s: float, on_change: Callable[[], None]) -> None:
        self.state: State = "running"
        self._grace_s = grace_s
        self._until = math.inf
        self._on_change = on_change

    @property
    def claims(self) -> bool:
        """Whether new actions may start."""
        return self.state == "running"

    @property
    def leaving(self) -> bool:
        """Whether the worker ends as soon as nothing runs."""
        return self.state in ("draining", "stopping")

    @property
    def left_s(self) -> float:
        """Seconds that running actions still have."""
        return self._until - asyncio.get_running_loop().time()

    def quiet(self) -> None:
        if self.state == "running":
            self._become("quiet")

    def resume(self) -> None:
        if self.state == "quiet":
            self._become("running")

    def drain(self) -> None:
        if not self.leaving:
            self._become("draining")

    def stop(self, grace_s: float | None = None) -> None:
        """Asked again, what counts is the grace said last; None is the settings' when asked first."""
        if self.state != "stopping" or grace_s is not None:
            grace_s = self._grace_s if grace_s is None else grace_s
            self._until = asyncio.get_running_loop().time() + grace_s
            self._become("stopping")

    def _become(self, state: State) -> None:
        self.state = state
        self._on_change()
