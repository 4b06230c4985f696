"""Moving a tenant to another tier together with what waits of it: nothing is lost, its order is kept.

Before anything else a *record* of the move is written (``moving``). From then on any driver can go on with
it, several at once, too: whoever asked for the move, everybody who asks for the same one, and ``Maintenance``
on every worker. So a move ends by itself, whoever dies on the way. A step or a pause without the record does
nothing: a driver that comes late disturbs nobody.

A small backlog moves in one step. For a larger one the tenant is paused first, so that nothing of it starts
out of order, and moved a bounded number at a time; new actions go on into its old tier meanwhile and are
moved, too. The step that finds nothing left registers it for the new tier. Then its pause is ended, and last
the record goes.

What runs finishes where it is, and so do its retries. What was used of limits counts on in the new tier. To
another tier a move is refused until the one before has ended.
"""

from __future__ import annotations

import json
import logging
import secrets
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from redis.exceptions import ResponseError

from . import scripts
from .errors import RegistryError, SchedulerError, ScriptError
from .overrides import Said, end_own_pause, pause_for

if TYPE_CHECKING:
    from .engine import Engine

STEP = 500
"""Actions that one step moves at most, about."""

EVERY_TIER = "*"
EMPTIED = b"tier "
"""Before the name of a tier that is being emptied, among the tenants that move."""

_log = logging.getLogger(__name__)


class Moving(NamedTuple):
    """The record of a move. ``source``: the tier that is emptied, ``*`` for every other one than ``tier``.

    ``arrived``: all has been moved, and the tenant is registered; only its pause may be left. ``moved``: how
    many actions so far. ``move_id`` begins with the time (ms) at which it was asked for.
    """

    move_id: str
    arrived: bool
    moved: int
    tier: str
    source: str
    by: str
    why: str

    def write(self) -> str:
        """As it is stored; ``scripts/move.lua`` reads and writes it, too."""
        words = f"{self.move_id} {int(self.arrived)} {self.moved} {self.tier} {self.source}"
        return f"{words}\n{json.dumps({'by': self.by, 'why': self.why})}"

    @classmethod
    def read(cls, text: bytes) -> Moving:
        """The opposite of ``write``."""
        words, _, said = text.decode().partition("\n")
        move_id, arrived, moved, tier, source = words.split(" ")
        return cls(move_id, arrived == "1", int(moved), tier, source, **json.loads(said))

    def pause(self) -> Said:
        """Whose pause of the tenant belongs to this move."""
        return Said(self.by, int(self.move_id.partition("-")[0]), f"is being moved to tier {self.tier}")


async def moves(engine: Engine, domain: str) -> dict[str, Moving]:
    """The moves under way in a domain, by tenant."""
    texts = await engine.redis.hgetall(engine.keys.of("moving", domain))
    tenants = {name.decode(): text for name, text in sorted(texts.items()) if not name.startswith(EMPTIED)}
    return {tenant: Moving.read(text) for tenant, text in tenants.items()}


async def emptied_tiers(engine: Engine, domain: str) -> dict[str, str]:
    """The tiers that the policy lacks and that are being emptied, each with the one its tenants go to."""
    texts = await engine.redis.hgetall(engine.keys.of("moving", domain))
    names = {name: text.decode() for name, text in sorted(texts.items()) if name.startswith(EMPTIED)}
    return {name.removeprefix(EMPTIED).decode(): tier for name, tier in names.items()}


async def refuse_other(engine: Engine, domain: str, tenant_id: str, tier: str) -> None:
    """Raises :class:`RegistryError` while a tenant is on its way to another tier than this one."""
    text = await engine.redis.hget(engine.keys.of("moving", domain), tenant_id)
    if text is not None and (record := Moving.read(text)).tier != tier and not record.arrived:
        raise _busy(domain, tenant_id, record)


async def begin(
    engine: Engine,
    domains: Sequence[str],
    tenant_id: str,
    tier: str,
    *,
    by: str,
    why: str = "",
    source: str = EVERY_TIER,
    most: int = STEP,
) -> list[Mover]:
    """Write the record in each of these domains, in one round trip; what is left is each one's ``run``.

    The same move that is under way is joined. To another tier: :class:`RegistryError`.
    """
    now_ms = engine.clock.now_ms()
    record = Moving(f"{now_ms}-{secrets.token_hex(4)}", False, 0, tier, source, by, why)
    while True:
        args = [now_ms, tenant_id, "begin", record.write(), "", most, "0"]
        calls = [(scripts.load("move"), engine.keys.root(domain), args) for domain in domains]
        replies = await scripts.run_together(engine.redis, calls) if calls else []
        movers = []
        for domain, (said, text) in zip(domains, replies, strict=True):
            found = Moving.read(text)
            if said == b"busy" and not found.arrived:
                raise _busy(domain, tenant_id, found)
            movers.append(Mover(engine, domain, tenant_id, found, most))
        arrived = [mover for mover in movers if mover.record.arrived]
        if not arrived:
            return movers
        for mover in arrived:  # the move before has only its pause left
            await mover.run()


class Mover:
    """A driver of one tenant's move in one domain."""

    def __init__(self, engine: Engine, domain: str, tenant_id: str, record: Moving, most: int = STEP) -> None:
        self.record = record
        self.moved = record.moved
        self._engine = engine
        self._domain = domain
        self._tenant = tenant_id
        self._most = most
        self._left: list[str] = []
        self._cursor: Any = "0"
        self._begun = False

    async def run(self) -> int:
        """All steps; how many actions were moved, by all its drivers."""
        while not await self.step():
            pass
        return self.moved

    async def step(self) -> bool:
        """One step; True when the move has ended. :class:`ScriptError` when a foreign key is in the way."""
        if self.record.arrived or (self._begun and not self._left):
            return await self._end()
        if not self._begun:
            await self._look()
            self._begun = True
        last = len(self._left) == 1
        reply = await self._ask("last" if last else "step", self._left[0], self._cursor)
        if reply[0] == b"gone":  # another driver was faster
            return True
        if reply[0] == b"key":
            raise ScriptError("move", f"the key {reply[1].decode()} is not a stream; DEL or RENAME it")
        self.moved, self._cursor, left = reply
        if left:
            await self._pause()
            return False
        del self._left[0]
        return not self._left and await self._end()

    async def _look(self) -> None:
        """Which tiers are to be emptied: last the one that new actions go to, for that step registers."""
        if self.record.source != EVERY_TIER:
            self._left = [self.record.source]
        else:
            found = await self._engine.redis.hmget(
                self._engine.keys.of("registry", self._domain), "*", self._tenant
            )
            settings = json.loads(found[0]) if found[0] else {}
            names = settings.get("order") or self._engine.policy.names()
            own = found[1].decode().partition(" ")[0] if found[1] else ""
            own = own if own in names else settings.get("default", self._engine.policy.default_tier)
            others = [name for name in names if name != self.record.tier]
            self._left = sorted(others, key=lambda name: name == own) or [""]
        keys, redis = self._engine.keys, self._engine.redis
        streams = [keys.stream(self._domain, self._tenant, name) for name in self._left]
        try:
            many = sum([await redis.xlen(stream) for stream in streams]) >= self._most
        except ResponseError:  # somebody else's key: the steps find nothing of ours there
            many = True
        if many:
            await self._pause()

    async def _pause(self) -> None:
        record = self.record
        await pause_for(self._engine, self._domain, self._tenant, record.pause(), record.move_id)

    async def _end(self) -> bool:
        why = f"moved to tier {self.record.tier}"
        await end_own_pause(self._engine, self._domain, self._tenant, self.record.pause(), why=why)
        await self._ask("end")
        return True

    async def _ask(self, stage: str, source: str = "", cursor: Any = "0") -> Any:
        now_ms = self._engine.clock.now_ms()
        args = [now_ms, self._tenant, stage, self.record.move_id, source, self._most, cursor]
        root = self._engine.keys.root(self._domain)
        return await scripts.run(self._engine.redis, scripts.load("move"), root, args)


class Continuing:
    """Goes on with moves that somebody else began, a bounded number of steps a round."""

    def __init__(self, engine: Engine, domain: str, most: int = STEP) -> None:
        self._engine = engine
        self._domain = domain
        self._most = most
        self._movers: dict[str, Mover] = {}

    async def round(self, steps: int = 20) -> bool:
        """At most so many steps; whether more are to be done at once. One command when nothing moves."""
        found = await moves(self._engine, self._domain)
        known = self._movers
        self._movers = {
            record.move_id: known.get(record.move_id)
            or Mover(self._engine, self._domain, tenant, record, self._most)
            for tenant, record in found.items()
        }
        for mover in self._movers.values():
            ended = False
            try:
                while steps > 0 and not ended:
                    steps -= 1
                    ended = await mover.step()
            except SchedulerError as error:
                _log.warning("%s: the move to tier %s stands: %s", self._domain, mover.record.tier, error)
            if steps <= 0 and not ended:
                return True
        return False


def _busy(domain: str, tenant_id: str, record: Moving) -> RegistryError:
    return RegistryError(
        f"tenant {tenant_id!r} is on its way to tier {record.tier!r} in {domain} (by {record.by}); that move "
        "ends by itself, give this command again then"
    )
