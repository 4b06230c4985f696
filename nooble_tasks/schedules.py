"""Schedules at run time, for people and programs: `client.schedules`."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict, Unpack

from redis.exceptions import RedisError

from ._engine import (
    Backfilled,
    Listed,
    Schedule,
    ScheduleError,
    SchedulerError,
    ScheduleStore,
    UnknownScheduleError,
    action_of_schedule,
    backfill_schedule,
    claimed_tier,
    inspection,
)
from .errors import InvalidAction, QueueUnavailable, UnknownTier
from .ids import check_domain, check_id, check_tenant_id, domain_of, new_id
from .schedule_template import scheduled_payload, timing
from .times import aware

if TYPE_CHECKING:
    from .bus import Bus


class ScheduleInfo(NamedTuple):
    """A schedule as it stands: what it says, when it is due next and was due last (None: not, or paused)."""

    schedule: Schedule
    next_due: datetime | None
    last_due: datetime | None
    last_action_id: str | None
    last_accepted: bool | None


class ScheduleChanges(TypedDict, total=False):
    """What `edit` can change; as in `create`."""

    expression: str | None
    every: float | timedelta | None
    time_zone: str
    tenant_id: str
    data: Any
    tier: str | None
    misfire: str
    grace: float | timedelta
    overlap: str


Infos = list[ScheduleInfo]
Moments = list[datetime]
Names = list[str]


class Schedules:
    """The schedules of all domains. `by` is who does it (default: this service), `why` is for the record.

    Every method raises QueueUnavailable when Redis does not answer, ScheduleError for what cannot be, and
    UnknownScheduleError with near names; nothing is written then.
    """

    def __init__(self, bus: Bus, service_name: str) -> None:
        self._bus = bus
        self._store = ScheduleStore(bus.engine)
        self._service_name = service_name

    async def create(
        self,
        schedule_id: str,
        action_type: str,
        expression: str | None = None,
        *,
        tenant_id: str,
        every: float | timedelta | None = None,
        time_zone: str = "UTC",
        data: Any = None,
        tier: str | None = None,
        misfire: str = "once",
        grace: float | timedelta = 60,
        overlap: str = "allow",
        domain: str | None = None,
        by: str | None = None,
        why: str = "",
    ) -> ScheduleInfo:
        """Add a schedule; the parameters are those of `@cron`. The domain is the action type's.

        Raises ScheduleConflictError when there is one of that id.
        """
        check_id("schedule_id", schedule_id)
        self._check_tier(tier)
        made = replace(
            timing(expression, every, time_zone, tier, misfire, grace, overlap),
            schedule_id=schedule_id,
            action_type=action_type,
            tenant_id=check_tenant_id(tenant_id),
            payload=self._payload(schedule_id, action_type, tenant_id, data, tier),
        )
        domain = check_domain(domain or domain_of(action_type))
        async with self._asking():
            # First, because who is told that there is such a schedule already does not come as far as that.
            await self._bus.redis.sadd(self._bus.keys.shared("domains"), domain)
            await self._store.create(domain, made, by=by or self._service_name, why=why)
            return _info(await self._store.get(domain, schedule_id))

    async def edit(
        self,
        domain: str,
        schedule_id: str,
        *,
        by: str | None = None,
        why: str = "",
        **changes: Unpack[ScheduleChanges],
    ) -> ScheduleInfo:
        """Change a schedule made at run time. A due time that has come stays due, once, as edited."""
        if not changes:
            raise InvalidAction("nothing to change: give an expression, data, misfire, ...")
        self._check_tier(changes.get("tier"))

        def edited(old: Schedule) -> Schedule:
            return self._edited(old, changes)

        async with self._asking():
            await self._store.change(
                check_domain(domain), schedule_id, edited, by=by or self._service_name, why=why
            )
            return _info(await self._store.get(domain, schedule_id))

    async def pause(
        self, domain: str, schedule_id: str, *, by: str | None = None, why: str = ""
    ) -> ScheduleInfo:
        """Fire no more until resumed; deployments do not undo it."""
        async with self._asking():
            await self._store.pause(check_domain(domain), schedule_id, by=by or self._service_name, why=why)
            return _info(await self._store.get(domain, schedule_id))

    async def resume(
        self, domain: str, schedule_id: str, *, by: str | None = None, why: str = ""
    ) -> ScheduleInfo:
        """Fire again from the next due time on; what fell into the pause can be made up by `backfill`."""
        async with self._asking():
            await self._store.resume(check_domain(domain), schedule_id, by=by or self._service_name, why=why)
            return _info(await self._store.get(domain, schedule_id))

    async def delete(self, domain: str, schedule_id: str, *, by: str | None = None, why: str = "") -> None:
        """Remove a schedule; what it enqueued stays."""
        async with self._asking():
            await self._store.delete(check_domain(domain), schedule_id, by=by or self._service_name, why=why)

    async def get(self, domain: str, schedule_id: str) -> ScheduleInfo:
        """One schedule."""
        async with self._asking():
            return _info(await self._store.get(check_domain(domain), schedule_id))

    async def list(self, domain: str) -> Infos:
        """All schedules of a domain, by id."""
        async with self._asking():
            return [_info(each) for each in await self._store.listed(check_domain(domain))]

    async def domains(self) -> Names:
        """The domains that have schedules, of those that were served on this server."""
        async with self._asking():
            return sorted(await self._names())

    async def domain_of(self, schedule_id: str) -> str:
        """The domain that has a schedule; ScheduleError when several have one of that id."""
        async with self._asking():
            known = await self._names()
        having = [domain for domain, names in known.items() if schedule_id in names]
        if len(having) > 1:
            raise ScheduleError(f"several domains have {schedule_id!r}: {', '.join(having)}; say which")
        if not having:
            names = {name for each in known.values() for name in each}
            raise UnknownScheduleError("any domain of this server", schedule_id, names)
        return having[0]

    async def next(self, domain: str, schedule_id: str, count: int = 5) -> Moments:
        """The next due times, in UTC, as if it was not paused."""
        schedule = (await self.get(domain, schedule_id)).schedule
        times = schedule.due_after(self._bus.clock.now_ms())
        return [_moment(each) for each in islice(times, max(count, 0))]

    async def run_now(
        self, domain: str, schedule_id: str, *, by: str | None = None, why: str = ""
    ) -> str | None:
        """Enqueue its action once, at once, paused or not; its id.

        None when `overlap="skip"` passes it over because an earlier one still waits or runs.
        """
        async with self._asking():
            schedule = (await self._store.get(check_domain(domain), schedule_id)).schedule
            tier = claimed_tier(schedule)
            due_at = datetime.fromtimestamp(self._bus.clock.now_ms() / 1000, UTC).isoformat()
            action = action_of_schedule(schedule, new_id(), due_at, tier=tier)
            (said,) = await self._bus.engine.enqueue(domain, [action])
            did = f"run schedule {schedule_id} now"
            await self._store.note(domain, by=by or self._service_name, why=why, did=did)
        return said.action_id if said.accepted else None

    async def backfill(
        self,
        domain: str,
        schedule_id: str,
        start: datetime,
        end: datetime,
        *,
        rate: float = 100.0,
        on_progress: Callable[[Backfilled], None] | None = None,
        by: str | None = None,
        why: str = "",
    ) -> Backfilled:
        """Enqueue the due times of the past range [start, end), at most `rate` per second, the oldest first.

        Started again with the same range it goes on where it stopped and does nothing twice. `overlap` does
        not apply. How the actions run is up to their tenant's limits.
        """
        from_ms, until_ms = (int(aware(each, "time").timestamp() * 1000) for each in (start, end))
        async with self._asking():
            done = await backfill_schedule(
                self._bus.engine,
                check_domain(domain),
                schedule_id,
                from_ms,
                until_ms,
                per_second=rate,
                on_progress=on_progress,
            )
            did = f"backfill schedule {schedule_id} from {start.isoformat()} to {end.isoformat()}"
            await self._store.note(domain, by=by or self._service_name, why=why, did=did)
        return done

    async def _names(self) -> dict[str, Names]:
        """The ids of each domain that has schedules."""
        served = {*await self._bus.policies.domains(), *await inspection.domains(self._bus.engine)}
        found = {domain: await self._store.names(domain) for domain in served}
        return {domain: names for domain, names in found.items() if names}

    def _edited(self, old: Schedule, changes: ScheduleChanges) -> Schedule:
        expression, every = old.expression or None, old.every_ms / 1000 if old.every_ms else None
        if changes.get("expression") is not None or changes.get("every") is not None:
            expression, every = changes.get("expression"), changes.get("every")  # type: ignore[assignment]
        tier = changes.get("tier", old.tier or None)
        new = timing(
            expression,
            every,
            changes.get("time_zone", old.time_zone),
            tier,
            changes.get("misfire", old.misfire),
            changes.get("grace", old.grace_ms / 1000),
            changes.get("overlap", old.overlap),
        )
        tenant_id = check_tenant_id(changes.get("tenant_id", old.tenant_id))
        data = changes["data"] if "data" in changes else data_of(old)
        return replace(
            old,
            expression=new.expression,
            every_ms=new.every_ms,
            time_zone=new.time_zone,
            tier=new.tier,
            misfire=new.misfire,
            grace_ms=new.grace_ms,
            overlap=new.overlap,
            tenant_id=tenant_id,
            payload=self._payload(old.schedule_id, old.action_type, tenant_id, data, tier),
        )

    def _payload(
        self, schedule_id: str, action_type: str, tenant_id: str, data: Any, tier: str | None
    ) -> bytes:
        return scheduled_payload(
            schedule_id,
            action_type,
            tenant_id,
            data,
            tier=tier,
            origin_service=self._service_name,
            limits=self._bus.settings.payload_limits,
        )

    def _check_tier(self, tier: str | None) -> None:
        names = self._bus.policy.names()
        if tier is not None and tier not in names:
            raise UnknownTier(tier, names)

    @asynccontextmanager
    async def _asking(self) -> AsyncIterator[None]:
        try:
            await self._bus.ready()
            yield
        except ScheduleError:
            raise
        except (RedisError, OSError, SchedulerError) as error:
            raise QueueUnavailable(f"Redis refused or went away: {error}") from error


def data_of(schedule: Schedule) -> Any:
    """The data of a schedule's actions."""
    return json.loads(schedule.payload).get("data")


def _info(listed: Listed) -> ScheduleInfo:
    last = listed.last
    return ScheduleInfo(
        listed.schedule,
        _moment(listed.next_due_ms) if listed.next_due_ms is not None else None,
        _moment(last.due_ms) if last else None,
        last.action_id if last else None,
        last.accepted if last else None,
    )


def _moment(at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000, UTC)


__all__ = ["Backfilled", "ScheduleChanges", "ScheduleInfo", "Schedules"]
