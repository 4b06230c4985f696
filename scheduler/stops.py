"""What keeps more than one tenant from starting: a pause, a limit, a handler's not now. Read-only."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from . import scripts
from .calendar import period_args
from .engine import Engine
from .model import Scope

PAUSED, BACKPRESSURE = "paused", "backpressure"


class Stop(NamedTuple):
    """Nothing of a ``domain``, a ``tier`` or a named ``limit`` starts.

    ``why``: ``paused``, ``backpressure`` (a handler said not now) or the limit that is used up, until
    ``until_ms`` (None: no time is known). ``by`` and ``because`` are of a pause.
    """

    scope: Scope
    name: str
    why: str
    until_ms: int | None = None
    by: str = ""
    because: str = ""

    @property
    def brief(self) -> str:
        """For a column: ``2/minute (tier)``."""
        return f"{self.why} ({self.scope})"

    @property
    def text(self) -> str:
        """For a sentence that begins with whom it stops."""
        if self.why == PAUSED:
            return f"paused by {self.by or 'somebody'}{f': {self.because}' if self.because else ''}"
        if self.why == BACKPRESSURE:
            return "a handler said not now (backpressure)"
        return f"limit {self.why} of {self.whose} is used up"

    @property
    def whose(self) -> str:
        """What is stopped."""
        return "the whole domain" if self.scope is Scope.DOMAIN else f"{self.scope} {self.name}"


class Stops(NamedTuple):
    """What is stopped in a domain: itself, tiers, named limits."""

    domain: Stop | None
    tiers: Mapping[str, Stop]
    limits: Mapping[str, Stop]

    def of(self, tier: str) -> Stop | None:
        """What stops the tenants of a tier: the domain's stop, else the tier's."""
        return self.domain or self.tiers.get(tier)


async def look(engine: Engine, domain: str) -> Stops:
    """What is stopped in a domain at this moment; nothing where no worker has served it."""
    periods: Sequence[str] = engine.policy.compile(domain).periods
    while True:
        now_ms = engine.clock.now_ms()
        args = [now_ms, *period_args(periods, now_ms)]
        reply = await scripts.run(engine.redis, scripts.load("stops"), engine.keys.root(domain), args)
        if reply[0] != b"periods":
            break
        periods = [name.decode() for name in reply[1:]]
    stops = [_read(*row) for row in reply[1:]]
    return Stops(
        next((stop for stop in stops if stop.scope is Scope.DOMAIN), None),
        {stop.name: stop for stop in stops if stop.scope is Scope.TIER},
        {stop.name: stop for stop in stops if stop.scope is Scope.LIMIT},
    )


def _read(scope: bytes, why: bytes, until_ms: Any, said: bytes) -> Stop:
    pause = json.loads(said or b"{}")
    until = None if until_ms == b"inf" else int(until_ms)
    return Stop(*read_scope(scope.decode()), why.decode(), until, pause.get("by", ""), pause.get("why", ""))


def read_scope(text: str) -> tuple[Scope, str]:
    """From a field of ``backpressure`` to what it means: kind and name."""
    if text == "*":
        return Scope.DOMAIN, ""
    return (Scope.TIER, text.removeprefix("*:")) if text.startswith("*:") else (Scope.LIMIT, text[1:])
