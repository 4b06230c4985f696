"""Calendar periods against a plain reference, on the days that are not 24 hours long."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from scheduler.calendar import period_at, period_name

ZONES = st.sampled_from(
    [
        "UTC",
        "Europe/Madrid",
        "America/Sao_Paulo",
        "America/New_York",
        "America/Havana",
        "Asia/Kolkata",
        "Atlantic/Azores",
        "Australia/Lord_Howe",
        "Pacific/Apia",
        "Pacific/Kiritimati",
        "Africa/Casablanca",
    ]
)
MOMENTS = st.integers(946_684_800_000, 2_208_988_800_000)  # 2000 to 2040
HOUR = 3_600_000


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp() * 1000)


def local(at_ms: int, zone: str) -> datetime:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=at_ms)).astimezone(ZoneInfo(zone))


def label(at_ms: int, multiple: int, unit: str, zone: str) -> int:
    """Which period a moment is in, by what a calendar on the wall there shows."""
    day = local(at_ms, zone)
    match unit:
        case "day":
            return (day.date() - datetime(1970, 1, 1, tzinfo=UTC).date()).days // multiple
        case "month":
            return (day.year * 12 + day.month - 1) // multiple
        case _:
            return day.year // multiple


@given(zone=ZONES, unit=st.sampled_from(["day", "month", "year"]), multiple=st.integers(1, 4), at=MOMENTS)
@example(zone="Europe/Madrid", unit="day", multiple=1, at=ms("2025-03-30T12:00:00+02:00"))
@example(zone="Europe/Madrid", unit="day", multiple=1, at=ms("2025-10-26T00:30:00+02:00"))
@example(zone="America/Sao_Paulo", unit="day", multiple=1, at=ms("2018-11-04T03:00:00+00:00"))
@example(zone="America/Sao_Paulo", unit="day", multiple=1, at=ms("2018-02-17T23:30:00-03:00"))
@example(zone="America/Havana", unit="day", multiple=1, at=ms("2024-11-03T00:30:00-05:00"))
@example(zone="Pacific/Apia", unit="day", multiple=1, at=ms("2011-12-29T12:00:00-10:00"))
@example(zone="Pacific/Apia", unit="day", multiple=1, at=ms("2011-12-31T00:00:00+14:00"))
def test_a_period_is_what_shows_the_same_page(zone: str, unit: str, multiple: int, at: int) -> None:
    period = period_at(period_name(multiple, unit, zone), at)
    assert period.start_ms <= at < period.end_ms
    here = label(at, multiple, unit, zone)
    assert label(period.start_ms, multiple, unit, zone) == here
    assert label(period.end_ms - 1, multiple, unit, zone) == here
    assert label(period.start_ms - 1, multiple, unit, zone) < here
    assert label(period.end_ms, multiple, unit, zone) > here


@pytest.mark.parametrize(
    ("zone", "at", "hours"),
    [
        ("Europe/Madrid", "2025-03-30T12:00:00+02:00", 23),
        ("Europe/Madrid", "2025-10-26T12:00:00+01:00", 25),
        ("Europe/Madrid", "2025-06-01T12:00:00+02:00", 24),
        ("America/Sao_Paulo", "2018-11-04T12:00:00-02:00", 23),
        ("America/Sao_Paulo", "2018-02-17T12:00:00-02:00", 25),
        ("America/Havana", "2024-11-03T12:00:00-05:00", 25),
        ("Asia/Kolkata", "2025-03-30T12:00:00+05:30", 24),
        ("Australia/Lord_Howe", "2025-10-05T12:00:00+11:00", 23.5),
    ],
)
def test_lengths_of_days(zone: str, at: str, hours: float) -> None:
    period = period_at(period_name(1, "day", zone), ms(at))
    assert period.end_ms - period.start_ms == hours * HOUR


@pytest.mark.parametrize(
    ("name", "start", "end"),
    [
        ("1 day UTC", "2025-06-15T00:00:00+00:00", "2025-06-16T00:00:00+00:00"),
        ("1 day Asia/Kolkata", "2025-06-15T00:00:00+05:30", "2025-06-16T00:00:00+05:30"),
        ("1 month Europe/Madrid", "2025-06-01T00:00:00+02:00", "2025-07-01T00:00:00+02:00"),
        ("3 month UTC", "2025-04-01T00:00:00+00:00", "2025-07-01T00:00:00+00:00"),
        ("1 year UTC", "2025-01-01T00:00:00+00:00", "2026-01-01T00:00:00+00:00"),
    ],
)
def test_periods(name: str, start: str, end: str) -> None:
    assert period_at(name, ms("2025-06-15T15:06:40+00:00")) == (ms(start), ms(end))


def test_the_answer_follows_the_clock_back_and_forth() -> None:
    name = period_name(1, "day", "UTC")
    today = ms("2025-06-15T12:00:00+00:00")
    for at in (today, today + 24 * HOUR, today, today - 48 * HOUR):
        assert period_at(name, at).start_ms == at - 12 * HOUR
