"""``enqueue``: how actions come in, one by one or very many at once, and what the script asks for first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from redis.exceptions import ResponseError

from . import scripts
from .admission import PeriodsArg, enqueue_args, one_args, read_enqueued
from .batches import batches, sized_batches
from .model import Enqueued, NewAction
from .replication import UnconfirmedError, run_confirmed

if TYPE_CHECKING:
    from .engine import Engine

MAX_ACTIONS = 100
"""Actions per script call: others' calls go on between two, and longer ones would save nothing."""

MAX_TOGETHER = 1_000
"""Actions per round trip, however many there are: they are held in memory as one request."""


class _Beginning:
    """The first arguments of a domain's calls, made anew when a period has ended."""

    def __init__(self, engine: Engine, domain: str) -> None:
        self._periods = PeriodsArg(engine.periods_of(domain))
        self._window_ms = engine.duplicate_window_ms
        self._period = -1
        self._root = engine.keys.root(domain)
        self._script: scripts.Script | None = None
        self._call: tuple[Any, ...] = ()

    def args(self, now_ms: int) -> list[Any]:
        """As the script takes them."""
        period = now_ms // self._window_ms
        return [period, period - 1, self._periods.at(now_ms)]

    def command(self, script: scripts.Script, now_ms: int, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """The whole command, from what stays the same for a while."""
        period = now_ms // self._window_ms
        if period != self._period or script is not self._script:
            self._period, self._script = period, script
            self._call = script.command(self._root, (period, period - 1))
        return (*self._call, self._periods.at(now_ms), *args)


class Intake:
    """What puts actions in line for one engine; knows which calendar periods each domain's script needs."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._beginnings: dict[str, _Beginning] = {}

    def forget_periods(self) -> None:
        """The policy has changed."""
        self._beginnings.clear()

    async def one(self, domain: str, action: NewAction) -> Enqueued:
        """``Engine.enqueue`` of one action, by the shortest way."""
        engine = self._engine
        if engine.replication is not None:
            return (await self.all(domain, (action,)))[0]
        now_ms, script = engine.clock.now_ms(), scripts.load("enqueue")
        beginning = self._beginnings.get(domain) or self._begin(domain)
        command = beginning.command(script, now_ms, one_args(action, now_ms))
        try:
            reply = await engine.redis.execute_command(*command)
        except ResponseError as error:
            reply = await scripts.run_after(error, engine.redis, script, command)
        if reply == 1:
            return Enqueued(action.action_id, True, "", action.tier)
        if await self.asks_again(domain, reply):
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
        return (self._beginnings.get(domain) or self._begin(domain)).args(now_ms)

    def _begin(self, domain: str) -> _Beginning:
        beginning = self._beginnings[domain] = _Beginning(self._engine, domain)
        return beginning

    async def asks_again(self, domain: str, reply: Any) -> bool:
        """Give the script what it lacked, where it wrote nothing and is to be called again."""
        if reply == b"nopolicy":  # nobody has served this domain yet
            await self._engine.publish_policy(domain)
        elif isinstance(reply, list) and reply[:1] == [b"periods"]:  # that we do not know
            self._engine.know_periods(domain, reply[1:])
            self._beginnings.pop(domain, None)
        elif isinstance(reply, list) and reply[:1] == [b"zones"]:  # of tenants, that nobody has written yet
            await self._engine.write_periods(domain, reply[1:])
        else:
            return False
        return True
