"""When a cron expression is due in a time zone, by the library cronsim.

Daylight saving as Debian's cron does it: an expression with a fixed hour and minute is due once on every
matching day, also where its local time does not exist (then at the first moment after the gap) or exists
twice (then the first time). One whose hour or minute begins with ``*`` goes by elapsed time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim, CronSimError

from .errors import nearest
from .schedule_errors import ScheduleError

NAMED = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}

_MAX_LENGTH = 200
_LAST_YEAR = 9000  # datetime ends at 9999, and cronsim looks 50 years ahead
_FIELDS = ("second", "minute", "hour", "day-of-month", "month", "day-of-week")
_ALLOWED = {
    "second": "0-59",
    "minute": "0-59",
    "hour": "0-23",
    "day-of-month": "1-31, L (the last) or LW (the last weekday)",
    "month": "1-12 or JAN-DEC",
    "day-of-week": "0-7 (0 and 7 are Sunday) or SUN-SAT, 1#2 (the second Monday), 5L (the last Friday)",
}


def check_expression(text: object) -> str:
    """The expression in its plain form: fields and single blanks; raises :class:`ScheduleError`.

    Five fields, or six with seconds first; or ``@daily`` and the like.
    """
    if not isinstance(text, str) or not text.strip():
        raise ScheduleError(f"a cron expression is text such as '0 6 * * *', not {text!r}")
    if len(text) > _MAX_LENGTH:
        raise ScheduleError(f"a cron expression has at most {_MAX_LENGTH} characters, not {len(text)}")
    plain = " ".join(text.split())
    if plain.startswith("@"):
        named = NAMED.get(plain.lower())
        if named is None:
            raise ScheduleError(
                f"unknown expression {plain!r}{nearest(plain, NAMED)}; the names are {', '.join(NAMED)}"
            )
        return named
    count = len(plain.split(" "))
    if count not in (5, 6):
        raise ScheduleError(
            f"{plain!r} has {count} field{'s' if count != 1 else ''}; a cron expression has five (minute, "
            "hour, day of month, month, day of week) or six (second first)"
        )
    _check_fields(plain)
    if next_due_ms(plain, "UTC", 0) is None:
        raise ScheduleError(f"{plain!r} is never due: no such date in 50 years")
    return plain


def _check_fields(plain: str) -> None:
    try:
        CronSim(plain, datetime(2024, 1, 1, tzinfo=UTC))
    except (CronSimError, ValueError, AssertionError) as error:
        names = _FIELDS if plain.count(" ") == 5 else _FIELDS[1:]
        for number, found in enumerate(re.finditer(r"\S+", plain)):
            if _parses(names[number], found.group()):
                continue
            name = names[number]
            raise ScheduleError(
                f"{plain!r}: {name} {found.group()!r} (field {number + 1}, position {found.start()}) is not "
                f"valid; allowed are {_ALLOWED[name]}, *, lists (1,2), ranges (1-5) and steps (*/5)"
            ) from error
        raise ScheduleError(f"{plain!r} is never due: no month of it has such a day of the month") from error


def _parses(name: str, part: str) -> bool:
    fields = ["*"] * 6
    fields[_FIELDS.index(name)] = part
    try:
        CronSim(" ".join(fields), datetime(2024, 1, 1, tzinfo=UTC))
    except (CronSimError, ValueError, AssertionError):
        return False
    return True


def check_time_zone(name: object) -> str:
    """The name of a time zone of the IANA database; raises :class:`ScheduleError` with near names."""
    try:
        _zone(str(name))
    except (OSError, ValueError, KeyError):
        zones = available_timezones()
        near = nearest(str(name), zones) or _city(str(name), sorted(zones))
        raise ScheduleError(
            f"unknown time zone {name!r}{near}; use a name of the IANA database such as Europe/Madrid or UTC"
        ) from None
    return str(name)


def _city(name: str, zones: list[str]) -> str:
    """Who writes `madrid` means Europe/Madrid."""
    wanted = name.lower().replace(" ", "_")
    found = [zone for zone in zones if zone.rsplit("/", 1)[-1].lower() == wanted]
    return f", did you mean {found[0]!r}?" if found else ""


def explain(expression: str) -> str:
    """The expression in English words."""
    return str(CronSim(expression, datetime(2024, 1, 1, tzinfo=UTC)).explain())


def due_after(expression: str, time_zone: str, after_ms: int) -> Iterator[int]:
    """Every due time after ``after_ms``, in order (epoch ms)."""
    start = datetime.fromtimestamp(after_ms // 1000, UTC)
    last_ms = after_ms
    try:
        for moment in CronSim(expression, start.astimezone(_zone(time_zone))):
            if moment.year > _LAST_YEAR:
                return
            # In an hour that exists twice cronsim may say the first once more.
            due_ms = int(moment.timestamp()) * 1000
            if due_ms > last_ms:
                last_ms = due_ms
                yield due_ms
    except OverflowError:
        return  # the calendar ends


def next_due_ms(expression: str, time_zone: str, after_ms: int) -> int | None:
    """The first due time after ``after_ms``; None when there is none in 50 years."""
    return next(due_after(expression, time_zone, after_ms), None)


@lru_cache(maxsize=1024)
def _zone(name: str) -> tzinfo:
    return UTC if name == "UTC" else ZoneInfo(name)
