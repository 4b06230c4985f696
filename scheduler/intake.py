"""``enqueue``: how actions come in, one by one or very many at once, and what the script asks for first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from . import scripts
from .admission import PeriodsArg, enqueue_args, read_enqueued
from .batches import batches, sized_batches
from .model import Enqueued, NewAction
from .replication import UnconfirmedError, run_confirmed

if TYPE_CHECKING:
    from .engine import Engine

MAX_ACTIONS = 100
"""Actions per script call: others' calls go on between two, and longer ones would save nothing."""

MAX_TOGETHER = 1_000
"""Actions per round trip, however many there are: they are held in memory as one request."""


class Intake:
    """What puts actions in line for one engine; knows which calendar periods each domain's script needs."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._periods: dict[str, PeriodsArg] = {}

    def forget_periods(self) -> None:
        """The policy has changed."""
        self._periods.clear()

    async def one(self, domain: str, action: NewAction) -> Enqueued:
        """``Engine.enqueue`` of one action, by the shortest way."""
        engine = self._engine
        if engine.replication is not None:
            return (await self.all(domain, (action,)))[0]
        now_ms = engine.clock.now_ms()
        args = [*self.head(domain, now_ms), *enqueue_args((action,), now_ms)]
        reply = await scripts.run(engine.redis, scripts.load("enqueue"), engine.keys.root(domain), args)
        if reply != 1 and await self.asks_again(domain, reply):
            return await self.one(domain, action)
        return read_enqueued(action, reply[0] if isinstance(reply, list) else reply)

    async def all(self, domain: str, actions: Sequence[NewAction]) -> list[Enqueued]:
        """``Engine.enqueue``."""
        enqueued: list[Enqueued] = []
        doubts: list[UnconfirmedError] = []
        for together in sized_batches(actions, [len(each.payload) for each in actions], MAX_TOGETHER):
            enqueued += await self._together(domain, together, doubts)
        if doubts:
            raise min(doubts, key=lambda doubt: doubt.replicas).about(enqueued)
        return enqueued

    async def _together(
        self, domain: str, actions: Sequence[NewAction], doubts: list[UnconfirmedError]
    ) -> list[Enqueued]:
        engine = self._engine
        script, root, now_ms = scripts.load("enqueue"), engine.keys.root(domain), engine.clock.now_ms()
        head = self.head(domain, now_ms)
        parts = list(batches(actions, MAX_ACTIONS))
        calls: list[scripts.Call] = [(script, root, [*head, *enqueue_args(part, now_ms)]) for part in parts]
        replies, doubt = await run_confirmed(engine.redis, calls, engine.replication)
        if doubt is not None:
            doubts.append(doubt)
        enqueued: list[Enqueued] = []
        for part, reply in zip(parts, replies, strict=True):
            if await self.asks_again(domain, reply):
                enqueued += await self._together(domain, part, doubts)
            else:
                enqueued += map(read_enqueued, part, reply if isinstance(reply, list) else [reply])
        return enqueued

    def head(self, domain: str, now_ms: int) -> list[Any]:
        """The first arguments of the ``enqueue`` script, for whoever wraps it as well."""
        periods = self._periods.get(domain)
        if periods is None:
            periods = self._periods[domain] = PeriodsArg(self._engine.periods_of(domain))
        period = now_ms // self._engine.duplicate_window_ms
        return [period, period - 1, periods.at(now_ms)]

    async def asks_again(self, domain: str, reply: Any) -> bool:
        """Give the script what it lacked, where it wrote nothing and is to be called again."""
        if reply == b"nopolicy":  # nobody has served this domain yet
            await self._engine.publish_policy(domain)
        elif isinstance(reply, list) and reply[:1] == [b"periods"]:  # that we do not know
            self._engine.know_periods(domain, reply[1:])
            self._periods.pop(domain, None)
        elif isinstance(reply, list) and reply[:1] == [b"zones"]:  # of tenants, that nobody has written yet
            await self._engine.write_periods(domain, reply[1:])
        else:
            return False
        return True
