"""What can be wrong with a schedule.

ScheduleError               it cannot be declared, created or edited as it is; nothing was written
├── UnknownScheduleError    there is none of that id
└── ScheduleConflictError   it exists already, or somebody else changed it meanwhile
"""

from __future__ import annotations

from collections.abc import Iterable

from .errors import SchedulerError, nearest


class ScheduleError(SchedulerError, ValueError):
    """A schedule that cannot be used; nothing was written."""


class UnknownScheduleError(ScheduleError):
    """There is no schedule of that id."""

    def __init__(self, domain: str, schedule_id: str, known: Iterable[str] = ()) -> None:
        names = sorted(known)
        super().__init__(
            f"there is no schedule {schedule_id!r} in {domain}{nearest(schedule_id, names)}; "
            f"there {'is ' + ', '.join(names[:20]) if names else 'are none'}"
        )
        self.schedule_id = schedule_id


class ScheduleConflictError(ScheduleError):
    """The schedule exists already, or somebody else changed it meanwhile; nothing was written."""
