"""Cron expressions in time zones: daylight saving, impossible dates, what is written wrong."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise, takewhile
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.cron_times import check_expression, check_time_zone, due_after, explain, next_due_ms
from scheduler.schedule_errors import ScheduleError

MADRID = "Europe/Madrid"


def ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


def due(expression: str, zone: str, first: datetime, last: datetime) -> list[str]:
    """Due times in [first, last) as local text with its offset."""
    info = ZoneInfo(zone)
    times = takewhile(lambda each: each < ms(last), due_after(expression, zone, ms(first) - 1000))
    return [f"{datetime.fromtimestamp(each / 1000, UTC).astimezone(info):%H:%M%z}" for each in times]


def day(zone: str, year: int, month: int, number: int) -> tuple[datetime, datetime]:
    start = datetime(year, month, number, tzinfo=ZoneInfo(zone))
    return start, datetime.combine(date(year, month, number) + timedelta(days=1), start.timetz())


@pytest.mark.parametrize(
    ("expression", "zone", "of", "expected"),
    [
        # 23 hours: 02:00 to 03:00 does not exist
        ("30 2 * * *", MADRID, (2026, 3, 29), ["03:00+0200"]),
        ("0 6 * * *", MADRID, (2026, 3, 29), ["06:00+0200"]),
        ("0 2,3 * * *", MADRID, (2026, 3, 29), ["03:00+0200"]),
        ("30 2 * * *", "America/New_York", (2026, 3, 8), ["03:00-0400"]),
        # 25 hours: 02:00 to 03:00 exists twice
        ("30 2 * * *", MADRID, (2026, 10, 25), ["02:30+0200"]),
        ("0 2,3 * * *", MADRID, (2026, 10, 25), ["02:00+0200", "03:00+0100"]),
        ("30 1 * * *", "America/New_York", (2026, 11, 1), ["01:30-0400"]),
        # half an hour of daylight saving
        ("15 2 * * *", "Australia/Lord_Howe", (2026, 10, 4), ["02:30+1100"]),
        ("45 1 * * *", "Australia/Lord_Howe", (2026, 4, 5), ["01:45+1100"]),
        # no daylight saving, odd offset
        ("0 6 * * *", "Asia/Kathmandu", (2026, 3, 29), ["06:00+0545"]),
    ],
)
def test_fixed_times_are_due_once_a_day(
    expression: str, zone: str, of: tuple[int, int, int], expected: list[str]
) -> None:
    assert due(expression, zone, *day(zone, *of)) == expected


@pytest.mark.parametrize(("of", "hours"), [((2026, 3, 29), 23), ((2026, 10, 25), 25), ((2026, 6, 1), 24)])
def test_what_is_hourly_goes_by_elapsed_time(of: tuple[int, int, int], hours: int) -> None:
    first, last = map(ms, day(MADRID, *of))
    times = list(takewhile(lambda each: each < last, due_after("0 * * * *", MADRID, first - 1000)))
    assert len(times) == hours
    assert {after - before for before, after in pairwise(times)} == {3_600_000}


def test_a_look_from_within_the_hour_that_exists_twice() -> None:
    second_0215 = datetime(2026, 10, 25, 1, 15, tzinfo=UTC)  # 02:15+01:00
    found = next_due_ms("30 2 * * *", MADRID, ms(second_0215))
    assert found == ms(datetime(2026, 10, 26, 2, 30, tzinfo=ZoneInfo(MADRID)))


@settings(max_examples=25, deadline=None)
@given(
    hour=st.integers(0, 23),
    minute=st.sampled_from([0, 1, 29, 30, 45, 59]),
    zone=st.sampled_from([MADRID, "America/New_York", "Australia/Lord_Howe", "America/Sao_Paulo", "UTC"]),
    after=st.integers(1_735_689_600_000, 1_798_761_600_000),  # 2025 and 2026
)
def test_a_daily_time_is_due_once_per_local_day(hour: int, minute: int, zone: str, after: int) -> None:
    info = ZoneInfo(zone)
    stream = due_after(f"{minute} {hour} * * *", zone, after)
    times = [next(stream) for _ in range(150)]
    days = [datetime.fromtimestamp(each / 1000, UTC).astimezone(info).date() for each in times]
    assert days == [days[0] + timedelta(days=n) for n in range(150)]
    # asked again from each of them: the same sequence, whoever asks
    assert [next_due_ms(f"{minute} {hour} * * *", zone, each) for each in times[:-1]] == times[1:]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("0 6 * *", "has 4 fields"),
        ("", "is text such as"),
        (None, "is text such as"),
        ("0 25 * * *", r"hour '25' \(field 2, position 2\)"),
        ("0 0 * * MON#6", r"day-of-week 'MON#6' \(field 5"),
        ("* * * * * 9", r"day-of-week '9' \(field 6"),
        ("0 0 31 2 *", "never due"),
        ("0 0 30 2 *", "never due"),
        ("0 0 31 4,6,9,11 *", "never due"),
        ("@dayly", "did you mean '@daily'"),
        ("9" * 201, "at most 200"),
    ],
)
def test_bad_expressions(text: object, said: str) -> None:
    with pytest.raises(ScheduleError, match=said):
        check_expression(text)


def test_plain_forms() -> None:
    assert check_expression("  0   6 *  * 1-5 ") == "0 6 * * 1-5"
    assert check_expression("@daily") == "0 0 * * *"
    assert check_expression("0 0 29 2 *") == "0 0 29 2 *"
    assert explain("0 6 * * *")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Europe/Madird", "'Europe/Madrid'"),
        ("madrid", "'Europe/Madrid'"),
        ("../etc/passwd", "IANA"),
        ("", "IANA"),
    ],
)
def test_bad_time_zones(name: str, said: str) -> None:
    with pytest.raises(ScheduleError, match=said):
        check_time_zone(name)
