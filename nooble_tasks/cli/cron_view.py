"""How `nooble cron` shows schedules."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from .console import out

if TYPE_CHECKING:
    from nooble_tasks import ScheduleInfo

_DASH = "–"


def show_table(found: Sequence[tuple[str, ScheduleInfo]]) -> None:
    """A line each."""
    from .tables import marked, table, wide

    texts = [
        "schedule",
        "tenant",
        "when",
        *(["zone"] if wide() else []),
        "next",
        *(["last"] if wide() else []),
    ]
    made = table(texts, [])
    for _, info in found:
        schedule = info.schedule
        following = marked("paused", "yellow") if schedule.paused else _text(info.next_due)
        zone = [schedule.time_zone] if wide() else []
        last = [_text(info.last_due)] if wide() else []
        made.add_row(schedule.schedule_id, schedule.tenant_id, schedule.when, *zone, following, *last)
    out().print(made)


def show_one(domain: str, info: ScheduleInfo) -> None:
    """Everything about one."""
    from nooble_tasks._engine import explain_cron
    from nooble_tasks.schedules import data_of

    from .figures import moment

    schedule = info.schedule
    words = f" ({explain_cron(schedule.expression)})" if schedule.expression else ""
    last = _text(info.last_due)
    if info.last_due is not None:
        last += f", action {info.last_action_id}{'' if info.last_accepted else ', passed over'}"
    changed, paused = schedule.changed, schedule.paused
    facts = {
        "schedule": f"{schedule.schedule_id}, domain {domain}",
        "action": f"{schedule.action_type} of tenant {schedule.tenant_id}, tier {schedule.tier or 'its own'}",
        "when": f"{schedule.when}{words}, {schedule.time_zone}",
        "next": "paused" if paused else _text(info.next_due),
        "last": last,
        "misfire": f"{schedule.misfire}, grace {schedule.grace_ms / 1000:g} s",
        "overlap": str(schedule.overlap),
        "data": str(data_of(schedule)),
        "declared": f"in the code of {schedule.owner}" if schedule.owner else "by command",
        "changed": f"{moment(changed.at_ms)} by {changed.by}{f': {changed.why}' if changed.why else ''}",
    }
    if paused:
        why = f": {paused.why}" if paused.why else ""
        facts["paused"] = f"{moment(paused.at_ms)} by {paused.by}{why}"
    for name, value in facts.items():
        out().print(f"{name:<9} {value}")


def to_dict(domain: str, info: ScheduleInfo) -> dict[str, Any]:
    """For JSON."""
    from nooble_tasks.schedules import data_of

    schedule = info.schedule
    plain = ("schedule_id", "action_type", "tenant_id", "tier", "expression", "every_ms", "time_zone")
    return {
        "domain": domain,
        **{name: getattr(schedule, name) for name in plain},
        "misfire": str(schedule.misfire),
        "grace_ms": schedule.grace_ms,
        "overlap": str(schedule.overlap),
        "data": data_of(schedule),
        "owner": schedule.owner,
        "changed": schedule.changed._asdict(),
        "paused": schedule.paused._asdict() if schedule.paused else None,
        "next_due": info.next_due.isoformat() if info.next_due else None,
        "last_due": info.last_due.isoformat() if info.last_due else None,
        "last_action_id": info.last_action_id,
        "last_accepted": info.last_accepted,
    }


def _text(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}Z" if moment else _DASH
