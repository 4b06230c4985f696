"""A schedule: what is to be enqueued, when, and what happens to due times that nobody attended to.

Pure: no I/O and no clock. ``plan`` decides what a tick does; ``scripts/fire.lua`` makes it so exactly once.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from itertools import islice
from typing import Any, NamedTuple

from . import cron_times
from .errors import nearest
from .model import NewAction
from .schedule_errors import ScheduleError

ID_MARK = b"nooble-schedule-action-id"
"""Stands in a schedule's payload for the id of the action that a due time becomes."""

DUE_MARK = b"nooble-schedule-due-at"
"""Stands there for the due time, as text like 2030-01-31T06:00:00+00:00."""

MAX_PAYLOAD = 1024 * 1024
MIN_EVERY_MS = 1_000
MAX_EVERY_MS = 366 * 86_400_000
MAX_GRACE_MS = 86_400_000


class Misfire(StrEnum):
    """What becomes of due times that were missed: later attended to than the schedule's grace allows."""

    SKIP = "skip"
    ONCE = "once"
    ALL = "all"


class Overlap(StrEnum):
    """Whether a due time is passed over while the action of an earlier one still waits or runs."""

    ALLOW = "allow"
    SKIP = "skip"


class Touch(NamedTuple):
    """Who did something, when (epoch ms) and why."""

    by: str
    at_ms: int
    why: str = ""


UNTOUCHED = Touch("", 0)


@dataclass(frozen=True, slots=True)
class Schedule:
    """When an action is enqueued again and again. Made by :func:`checked`.

    ``expression`` in ``time_zone``, or ``every_ms`` counted from ``anchor_ms``. ``tier`` empty: the tenant's.
    ``payload``: the action's bytes with ``ID_MARK`` and ``DUE_MARK`` in them. ``owner``: the service whose
    code declares it, empty for one made at run time. ``paused``: who paused it, or None.
    """

    schedule_id: str
    action_type: str
    tenant_id: str
    payload: bytes = b""
    tier: str = ""
    expression: str = ""
    every_ms: int = 0
    anchor_ms: int = 0
    time_zone: str = "UTC"
    misfire: Misfire = Misfire.ONCE
    grace_ms: int = 60_000
    overlap: Overlap = Overlap.ALLOW
    changed: Touch = UNTOUCHED
    paused: Touch | None = None
    owner: str = ""
    digest: str = "-"
    revision: int = field(default=0, compare=False)

    def due_after(self, after_ms: int) -> Iterator[int]:
        """Every due time after ``after_ms``, in order (epoch ms)."""
        if self.expression:
            yield from cron_times.due_after(self.expression, self.time_zone, after_ms)
            return
        due_ms = self.anchor_ms
        if after_ms >= due_ms:
            due_ms += ((after_ms - due_ms) // self.every_ms + 1) * self.every_ms
        while True:
            yield due_ms
            due_ms += self.every_ms

    def next_due_ms(self, after_ms: int) -> int | None:
        """The first due time after ``after_ms``; None when there is none for 50 years."""
        return next(self.due_after(after_ms), None)

    def latest_due_ms(self, after_ms: int, until_ms: int) -> int:
        """The last due time in (``after_ms``, ``until_ms``]; ``after_ms`` when there is none."""
        look_back_ms = self.every_ms or 60_000
        while True:
            start_ms = max(after_ms, until_ms - look_back_ms)
            found = start_ms
            for due_ms in self.due_after(start_ms):
                if due_ms > until_ms:
                    break
                found = due_ms
            if found > start_ms or start_ms == after_ms:
                return found
            look_back_ms *= 4

    @property
    def when(self) -> str:
        """The expression, or `every 90 s`."""
        return self.expression or f"every {self.every_ms / 1000:g} s"


class Plan(NamedTuple):
    """What a tick does with one schedule: due times to fire, and the next one (None: never again)."""

    fires: list[int]
    next_due_ms: int | None


def plan(schedule: Schedule, due_ms: int, now_ms: int, most: int) -> Plan:
    """What to do when ``due_ms`` has come and it is ``now_ms``; at most ``most`` due times at once."""
    missed = due_ms < now_ms - schedule.grace_ms
    if missed and schedule.misfire is Misfire.ONCE:
        latest_ms = schedule.latest_due_ms(due_ms, now_ms)
        return Plan([latest_ms], schedule.next_due_ms(latest_ms))
    if missed and schedule.misfire is Misfire.SKIP:
        times = schedule.due_after(now_ms - schedule.grace_ms - 1)
    else:
        times = _chain(due_ms, schedule.due_after(due_ms))
    fires: list[int] = []
    for each in islice(times, most + 1):
        if each > now_ms or len(fires) == most:
            return Plan(fires, each)
        fires.append(each)
    return Plan(fires, None)


def _chain(first: int, rest: Iterator[int]) -> Iterator[int]:
    yield first
    yield from rest


def action_id_of(domain: str, schedule_id: str, due_ms: int) -> str:
    """The id of the action that a due time becomes: the same whoever asks, and whenever."""
    return hashlib.sha256(f"{domain}\n{schedule_id}\n{due_ms}".encode()).hexdigest()[:32]


def action_of(
    schedule: Schedule, action_id: str, due_at: str, *, tier: str, overlap: Overlap | None = None
) -> NewAction:
    """The action of one due time."""
    payload = schedule.payload.replace(ID_MARK, action_id.encode()).replace(DUE_MARK, due_at.encode())
    alone = (overlap or schedule.overlap) is Overlap.SKIP
    unique_key = f"{schedule.tenant_id}:schedule.{schedule.schedule_id}" if alone else ""
    return NewAction(
        action_id, schedule.action_type, schedule.tenant_id, tier, payload, unique_key=unique_key
    )


def checked(schedule: Schedule) -> Schedule:
    """The schedule in its plain form; raises :class:`ScheduleError` for one that cannot be."""
    if bool(schedule.expression) == bool(schedule.every_ms):
        what = f"schedule {schedule.schedule_id}".strip()
        given = "both were given" if schedule.expression else "neither was given"
        raise ScheduleError(f"{what}: give a cron expression or an interval (every), one of the two; {given}")
    if schedule.expression:
        expression = cron_times.check_expression(schedule.expression)
    else:
        expression = ""
        _check_between("interval", schedule.every_ms, MIN_EVERY_MS, MAX_EVERY_MS)
    _check_between("grace", schedule.grace_ms, 0, MAX_GRACE_MS)
    if len(schedule.payload) > MAX_PAYLOAD:
        raise ScheduleError(
            f"a schedule's payload has at most {MAX_PAYLOAD} bytes, not {len(schedule.payload)}"
        )
    return replace(
        schedule,
        expression=expression,
        time_zone=cron_times.check_time_zone(schedule.time_zone),
        misfire=_one_of(Misfire, "misfire", schedule.misfire),
        overlap=_one_of(Overlap, "overlap", schedule.overlap),
    )


def _check_between(what: str, value: object, least: int, most: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise ScheduleError(
            f"the {what} must be {least / 1000:g} to {most / 1000:g} seconds, not {value!r} ms"
        )


def _one_of(kind: type[Any], name: str, value: object) -> Any:
    try:
        return kind(value)
    except ValueError:
        known = [str(each) for each in kind]
        raise ScheduleError(
            f"unknown {name} {value!r}{nearest(str(value), known)}; it is one of {', '.join(known)}"
        ) from None


_DEFINITION = (
    "action_type", "tenant_id", "tier", "expression", "every_ms", "anchor_ms", "time_zone", "misfire",
    "grace_ms", "overlap",
)  # fmt: skip


def digest_of(schedule: Schedule) -> str:
    """What tells two declarations of one schedule apart."""
    said = json.dumps([getattr(schedule, name) for name in _DEFINITION]).encode()
    return hashlib.sha256(said + schedule.payload).hexdigest()[:16]


def body_of(schedule: Schedule) -> bytes:
    """The record's lines that no script reads: the definition as JSON, then the payload."""
    known = asdict(schedule)
    definition = {name: known[name] for name in _DEFINITION}
    definition["changed"] = list(schedule.changed)
    return json.dumps(definition).encode() + b"\n" + schedule.payload


def record_of(schedule: Schedule, revision: int, superseded: str = "-") -> bytes:
    """A schedule as it is stored: `<revision> <digest> <owner> <superseded digests>`, the pause, the body."""
    head = f"{revision} {schedule.digest} {schedule.owner or '-'} {superseded}"
    paused = json.dumps(list(schedule.paused)) if schedule.paused else "-"
    return f"{head}\n{paused}\n".encode() + body_of(schedule)


def read_record(schedule_id: str, record: bytes) -> tuple[Schedule, str]:
    """The opposite: the schedule, and the digests that its own has superseded."""
    head, paused, definition, payload = record.split(b"\n", 3)
    revision, digest, owner, superseded = head.decode().split(" ")
    fields = json.loads(definition)
    fields = {name: fields[name] for name in (*_DEFINITION, "changed") if name in fields}
    fields["changed"] = Touch(*fields["changed"])
    fields["misfire"], fields["overlap"] = Misfire(fields["misfire"]), Overlap(fields["overlap"])
    schedule = Schedule(
        schedule_id=schedule_id,
        payload=payload,
        paused=None if paused == b"-" else Touch(*json.loads(paused)),
        owner="" if owner == "-" else owner,
        digest=digest,
        revision=int(revision),
        **fields,
    )
    return schedule, superseded
