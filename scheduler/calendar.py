"""Calendar periods: where a day, month or year starts and ends in a time zone, daylight saving included."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

from .limits import Limit, Period

UNITS = ("day", "month", "year")


def period_name(multiple: int, unit: str, time_zone: str) -> str:
    """Name of a kind of period: ``1 day Europe/Madrid``."""
    return f"{multiple} {unit} {time_zone}"


def in_zone(limits: Iterable[Limit], zone: str | None) -> tuple[Limit, ...]:
    """The same limits for a tenant with a time zone of its own (None: without): its quotas begin there."""
    if zone is None:
        return tuple(limits)
    return tuple(
        limit._replace(period=f"{limit.period.rpartition(' ')[0]} {zone}") if limit.period else limit
        for limit in limits
    )


async def write_periods(redis: Any, key: str, names: Iterable[str], now_ms: int) -> None:
    """Periods that contain ``now_ms``, for scripts that were not sent them: see ``scripts/lib/zones.lua``."""
    periods = {name: period_at(name, now_ms) for name in names}
    await redis.hset(key, mapping={name: f"{each.start_ms} {each.end_ms}" for name, each in periods.items()})


def period_at(name: str, now_ms: int) -> Period:
    """The period of kind ``name`` that contains ``now_ms``.

    Multiples count from 1970-01-01 (days) or from year 0 (months, years), so that ``2 day`` is the same
    pair of days for everybody.
    """
    cached = _CACHE.get(name)
    if cached is None or not cached.start_ms <= now_ms < cached.end_ms:
        cached = _compute(name, now_ms)
        _CACHE[name] = cached
    return cached


def period_args(periods: Sequence[str], now_ms: int) -> list[Any]:
    """Arguments of a script that asks limits: the calendar periods that contain ``now_ms``."""
    args: list[Any] = []
    for name in periods:
        period = period_at(name, now_ms)
        args += (name, period.start_ms, period.end_ms)
    return args


_CACHE: dict[str, Period] = {}  # the last period of each kind; there are few kinds


@lru_cache(maxsize=1024)
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


def _compute(name: str, now_ms: int) -> Period:
    text, unit, zone_name = name.split(" ")
    multiple, zone = int(text), _zone(zone_name)
    local = datetime.fromtimestamp(now_ms / 1000, UTC).astimezone(zone)
    if unit == "day":
        day = local.date().toordinal() - _EPOCH_DAY
        start = _midnight(day - day % multiple, zone)
        end = _midnight(day - day % multiple + multiple, zone)
    else:
        months = multiple * (12 if unit == "year" else 1)
        index = local.year * 12 + local.month - 1
        index -= index % months
        start, end = _month(index, zone), _month(index + months, zone)
    return Period(_ms(start), _ms(end))


_EPOCH_DAY = date(1970, 1, 1).toordinal()


def _midnight(day: int, zone: ZoneInfo) -> datetime:
    return datetime.combine(date.fromordinal(_EPOCH_DAY + day), datetime.min.time(), tzinfo=zone)


def _month(index: int, zone: ZoneInfo) -> datetime:
    return datetime(index // 12, index % 12 + 1, 1, tzinfo=zone)


def _ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)
