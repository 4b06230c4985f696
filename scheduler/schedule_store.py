"""Schedules of a domain: kept, changed, declared and fired. Leaderless: anybody may do any of it at any time.

Nobody holds a lock. Whoever fires says which due time of which revision; the script does it once
(``scripts/fire.lua``). Whoever changes says which revision was looked at (``scripts/schedule.lua``).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, NamedTuple

from . import scripts
from .admission import INHERITED, enqueue_args
from .engine import Engine
from .fired import LastFired, last_fired, packed
from .model import NewAction
from .schedule_errors import ScheduleConflictError, ScheduleError, UnknownScheduleError
from .schedules import (
    Plan,
    Schedule,
    Touch,
    action_id_of,
    action_of,
    body_of,
    checked,
    digest_of,
    plan,
    read_record,
    record_of,
)

MAX_SCHEDULES = 10_000
"""Schedules per domain."""

AT_ONCE = 100
"""Due times per script call."""

_SCHEDULES_AT_ONCE = 50
_TRIES = 20
_MAX_CALL_BYTES = 4 * 1024 * 1024

_log = logging.getLogger(__name__)


class Listed(NamedTuple):
    """A schedule, its next due time (None: paused, or never) and the last one."""

    schedule: Schedule
    next_due_ms: int | None
    last: LastFired | None


class Ticked(NamedTuple):
    """What a tick did: due times fired here, and when the next one is due in the domain (0: none)."""

    fired: int
    next_due_ms: int


class Declared(NamedTuple):
    """What a declaration changed, as ids. ``refused``: made at run time, or there are too many."""

    created: list[str]
    updated: list[str]
    removed: list[str]
    refused: list[str]


class ScheduleStore:
    """The schedules of every domain of one engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._redis = engine.redis
        self._told: set[tuple[str, str]] = set()

    # -- looking ----------------------------------------------------------------------------------------

    async def get(self, domain: str, schedule_id: str) -> Listed:
        """One schedule; raises :class:`UnknownScheduleError` with near names."""
        found = await self._read(domain, [schedule_id])
        if not found:
            raise UnknownScheduleError(domain, schedule_id, await self.names(domain))
        return found[0]

    async def names(self, domain: str) -> list[str]:
        """The ids of a domain's schedules."""
        return sorted(name.decode() for name in await self._redis.hkeys(self._key("schedules", domain)))

    async def listed(self, domain: str) -> list[Listed]:
        """All of a domain, by id."""
        names = await self.names(domain)
        found: list[Listed] = []
        for start in range(0, len(names), AT_ONCE):
            found += await self._read(domain, names[start : start + AT_ONCE])
        return found

    async def _read(self, domain: str, names: Sequence[str]) -> list[Listed]:
        if not names:
            return []
        pipeline = self._redis.pipeline(transaction=True)
        pipeline.hmget(self._key("schedules", domain), names)
        pipeline.zmscore(self._key("schedules_due", domain), names)
        pipeline.hmget(self._key("schedules_fired", domain), names)
        records, due, fired = await pipeline.execute()
        return [
            Listed(
                read_record(name, record)[0],
                None if next_ms is None else int(next_ms),
                last_fired(said) if said else None,
            )
            for name, record, next_ms, said in zip(names, records, due, fired, strict=True)
            if record is not None
        ]

    # -- changing ---------------------------------------------------------------------------------------

    async def create(self, domain: str, schedule: Schedule, *, by: str, why: str = "") -> Schedule:
        """Add a schedule. Raises :class:`ScheduleError`; :class:`ScheduleConflictError` when there is one."""
        touch = Touch(by, self._engine.clock.now_ms(), why)
        new = replace(checked(schedule), changed=touch, revision=1)
        await self._put(domain, new, 0, touch, f"create schedule {new.schedule_id}: {new.when}")
        return new

    async def change(
        self, domain: str, schedule_id: str, edit: Callable[[Schedule], Schedule], *, by: str, why: str = ""
    ) -> Schedule:
        """Apply ``edit`` to the newest revision of a schedule made at run time.

        What was due already stays due, once, with the new definition. Raises :class:`ScheduleError` for one
        that code declares: change the declaration.
        """

        def apply(old: Schedule, touch: Touch) -> Schedule:
            if old.owner:
                raise ScheduleError(
                    f"schedule {schedule_id!r} is declared in the code of {old.owner}; change it there, or "
                    "pause it and create another"
                )
            return replace(checked(edit(old)), changed=touch)

        return await self._change(domain, schedule_id, apply, by, why, "edit")

    async def pause(self, domain: str, schedule_id: str, *, by: str, why: str = "") -> Schedule:
        """Fire no more until resumed; survives deployments and changes of the declaration."""
        return await self._change(
            domain, schedule_id, lambda old, touch: replace(old, paused=old.paused or touch), by, why, "pause"
        )

    async def resume(self, domain: str, schedule_id: str, *, by: str, why: str = "") -> Schedule:
        """Fire again from the next due time on; what fell into the pause is not made up."""
        return await self._change(
            domain, schedule_id, lambda old, _: replace(old, paused=None), by, why, "resume"
        )

    async def delete(self, domain: str, schedule_id: str, *, by: str, why: str = "") -> None:
        """Remove a schedule; what it enqueued stays. :class:`ScheduleError` while a worker declares it."""
        old = (await self.get(domain, schedule_id)).schedule
        if old.owner and (who := await self._declaring(domain, schedule_id)):
            raise ScheduleError(
                f"worker {who} declares schedule {schedule_id!r} in its code; remove it there, or pause it"
            )
        args = self._args(old, "", "", Touch(by, 0, why), f"delete schedule {schedule_id}", old.revision)
        if await self._run("schedule", domain, args) != 1:
            raise ScheduleConflictError(f"somebody changed schedule {schedule_id!r} meanwhile; look again")

    async def note(self, domain: str, *, by: str, why: str, did: str) -> None:
        """Keep in the domain's ``operations`` who did what and why."""
        fields = {"at": self._engine.clock.now_ms(), "by": by, "why": why, "did": did}
        await self._redis.xadd(self._key("operations", domain), fields, maxlen=10_000, approximate=True)

    async def _change(
        self,
        domain: str,
        schedule_id: str,
        edit: Callable[[Schedule, Touch], Schedule],
        by: str,
        why: str,
        verb: str,
    ) -> Schedule:
        for _ in range(_TRIES):
            records = await self._redis.hget(self._key("schedules", domain), schedule_id)
            if records is None:
                await self.get(domain, schedule_id)  # says what there is
                continue
            old, superseded = read_record(schedule_id, records)
            touch = Touch(by, self._engine.clock.now_ms(), why)
            new = replace(edit(old, touch), revision=old.revision + 1)
            if new == old:
                return old
            try:
                await self._put(
                    domain, new, old.revision, touch, f"{verb} schedule {schedule_id}", superseded
                )
            except ScheduleConflictError:
                continue
            return new
        raise ScheduleConflictError(f"others kept changing schedule {schedule_id!r}; try again")

    async def _put(
        self, domain: str, new: Schedule, known: int, touch: Touch, did: str, superseded: str = "-"
    ) -> None:
        next_ms = None if new.paused else new.next_due_ms(self._engine.clock.now_ms())
        record = record_of(new, new.revision, superseded)
        said = await self._run("schedule", domain, self._args(new, record, next_ms or "", touch, did, known))
        if said == 0:
            raise ScheduleConflictError(
                f"there is a schedule {new.schedule_id!r} already; edit it, or choose another id"
                if not known
                else f"somebody changed schedule {new.schedule_id!r} meanwhile; look again"
            )
        if said == -1:
            raise ScheduleError(f"{domain} has {MAX_SCHEDULES} schedules, which is the most; delete some")

    def _args(
        self, schedule: Schedule, record: bytes | str, next_ms: int | str, touch: Touch, did: str, known: int
    ) -> list[Any]:
        now_ms = self._engine.clock.now_ms()
        return [
            now_ms, schedule.schedule_id, known or "", record, next_ms, MAX_SCHEDULES,
            touch.by, touch.why, did,
        ]  # fmt: skip

    # -- declaring --------------------------------------------------------------------------------------

    async def declare(
        self, domain: str, worker_id: str, owner: str, schedules: Sequence[Schedule]
    ) -> Declared:
        """Say what the code of this worker declares, all of it; ``owner`` is the service.

        Idempotent. Who declares first, updates, removes when: see ``scripts/declare.lua``.
        """
        now_ms = self._engine.clock.now_ms()
        args: list[Any] = [now_ms, worker_id, owner, MAX_SCHEDULES]
        for each in schedules:
            digest = digest_of(each)
            new = replace(each, changed=Touch(f"worker {worker_id}", now_ms, "declared in code"))
            args += (each.schedule_id, digest, body_of(new), each.next_due_ms(now_ms) or "")
        said = await self._run("declare", domain, args)
        return Declared(*(part.decode().split() for part in said))

    async def _declaring(self, domain: str, schedule_id: str) -> str:
        """A living worker whose code declares the schedule."""
        now_ms = self._engine.clock.now_ms()
        for worker, said in (await self._redis.hgetall(self._key("declarations", domain))).items():
            lease = await self._redis.zscore(self._key("workers", domain), worker)
            if lease is not None and lease > now_ms and schedule_id in said.decode().split()[1::2]:
                return str(worker.decode())
        return ""

    # -- firing -----------------------------------------------------------------------------------------

    async def fire_due(self, domain: str) -> Ticked:
        """Fire what is due, a bounded number of due times; whatever others fire meanwhile is theirs."""
        now_ms, key = self._engine.clock.now_ms(), self._key("schedules_due", domain)
        first = await self._redis.zrange(key, 0, _SCHEDULES_AT_ONCE - 1, withscores=True)
        due = [(schedule_id, int(due_ms)) for schedule_id, due_ms in first if due_ms <= now_ms]
        if not due:
            return Ticked(0, int(first[0][1]) if first else 0)
        records = await self._redis.hmget(
            self._key("schedules", domain), [schedule_id for schedule_id, _ in due]
        )
        fired, broken = 0, set()
        for (schedule_id, due_ms), record in zip(due, records, strict=True):
            if record is None:
                continue  # deleted since
            try:
                schedule, _ = read_record(schedule_id.decode(), record)
                doing = plan(schedule, due_ms, now_ms, _most_of(schedule))
            except Exception as error:  # a time zone without data here, a record of a later version
                broken.add(schedule_id)
                self._tell_broken(domain, schedule_id.decode(), error)
                continue
            said = await self.fire(domain, schedule, due_ms, doing)
            fired += 0 if said is None else len(doing.fires)
        first = await self._redis.zrange(key, 0, len(broken), withscores=True)
        next_due = [int(due_ms) for schedule_id, due_ms in first if schedule_id not in broken]
        return Ticked(fired, next_due[0] if next_due else 0)

    def _tell_broken(self, domain: str, schedule_id: str, error: Exception) -> None:
        """It stays due, for another worker or a later version; said once here."""
        if (domain, schedule_id) not in self._told:
            self._told.add((domain, schedule_id))
            _log.error("%s: schedule %s cannot be fired here: %r", domain, schedule_id, error)

    async def fire(
        self, domain: str, schedule: Schedule, expected_ms: int, doing: Plan, backfill: str = ""
    ) -> list[bool] | None:
        """Carry out a plan; per due time whether its action was accepted, None when somebody was faster."""
        now_ms = self._engine.clock.now_ms()
        tier = claimed_tier(schedule)
        actions = [_action(domain, schedule, due_ms, tier) for due_ms in doing.fires]
        fired = f"{doing.fires[-1]} {now_ms} {actions[-1].action_id}" if actions else ""
        next_ms = "" if doing.next_due_ms is None else doing.next_due_ms
        args = [
            backfill, schedule.schedule_id, schedule.revision, expected_ms, next_ms, fired,
            packed(doing.fires), *enqueue_args(actions, now_ms),
        ]  # fmt: skip
        while True:
            said = await self._run("fire", domain, [*self._engine.enqueue_head(domain, now_ms), *args])
            if not await self._engine.asks_again(domain, said):
                break
        if said == 0:
            return None
        for action, each in zip(actions, said, strict=True):
            self._complain(domain, schedule.schedule_id, action.action_id, each)
        return [_accepted(each) for each in said]

    def _complain(self, domain: str, schedule_id: str, action_id: str, said: Any) -> None:
        if said == -1:
            _log.error("%s: schedule %s has no stream to write to", domain, schedule_id)
        elif isinstance(said, bytes) and said.startswith(b"!"):
            _log.error("%s: schedule %s was refused: %s", domain, schedule_id, said[1:].decode())
        elif not _accepted(said):
            _log.info("%s: %s of schedule %s passed over", domain, action_id, schedule_id)

    def _key(self, name: str, domain: str) -> str:
        return self._engine.keys.of(name, domain)

    async def _run(self, verb: str, domain: str, args: list[Any]) -> Any:
        return await scripts.run(self._redis, scripts.load(verb), self._engine.keys.root(domain), args)


def _action(domain: str, schedule: Schedule, due_ms: int, tier: str) -> NewAction:
    due_at = datetime.fromtimestamp(due_ms / 1000, UTC).isoformat()
    action_id = action_id_of(domain, schedule.schedule_id, due_ms)
    return action_of(schedule, action_id, due_at, tier=tier)


def claimed_tier(schedule: Schedule) -> str:
    """The tier its actions claim: cut down to the one their tenant is registered for by then, not refused."""
    return INHERITED + schedule.tier if schedule.tier else ""


def _accepted(said: Any) -> bool:
    return said == 1 or (isinstance(said, bytes) and said.startswith(b"+"))


def _most_of(schedule: Schedule) -> int:
    return max(1, min(AT_ONCE, _MAX_CALL_BYTES // (len(schedule.payload) + 1)))
