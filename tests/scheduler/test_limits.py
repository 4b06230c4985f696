"""Limits: plain Python, the scripts' Lua, and the `limits` package on the same instants."""

from __future__ import annotations

import json
from collections.abc import Iterator
from copy import copy
from datetime import UTC, datetime
from typing import Any, cast

import pytest
from freezegun import freeze_time
from freezegun.api import FrozenDateTimeFactory
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from limits import RateLimitItem, parse
from limits.storage import MemoryStorage
from limits.strategies import (
    FixedWindowRateLimiter,
    MovingWindowRateLimiter,
    RateLimiter,
    SlidingWindowCounterRateLimiter,
)
from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from scheduler.calendar import period_at
from scheduler.limit_rules import LimitRule
from scheduler.limits import Limit, Period, Strategy, allowance, spend, worthless_at
from scheduler.scripts import Script, compose
from tests.scheduler.world import DAY, MINUTE, NOW

PACKAGE: dict[Strategy, type[RateLimiter]] = {
    Strategy.MOVING_WINDOW: MovingWindowRateLimiter,
    Strategy.FIXED_WINDOW: FixedWindowRateLimiter,
    Strategy.SLIDING_WINDOW_COUNTER: SlidingWindowCounterRateLimiter,
}
RATES = ("1/second", "3/second", "2/minute", "7/minute", "5/2 minutes", "4/hour")
GAPS = st.sampled_from(
    [0, 0, 1, 17, 333, 500, 999, 1000, 1001, 7_000, 20_000, 59_999, 60_000, 60_001, 130_000]
)
STEPS = st.lists(st.tuples(GAPS, st.integers(1, 3)), min_size=1, max_size=40)

HARNESS = """
-- @argv limits:str state:str now_ms:int starts:int start_ms:int end_ms:int
-- @include limits
local decoded = cjson.decode(limits)
local periods = {[decoded[1][5]] = {start_ms, end_ms}}
local states = state ~= '' and cmsgpack.unpack(state) or {}
local allowed, free_at = allowance(decoded, states, now_ms, periods, 1000000)
local worthless = starts > 0 and spend(decoded, states, now_ms, periods, starts) or 0
return {allowed, free_at, cmsgpack.pack(states), worthless}
"""


@pytest.fixture
def client(redis_url: str) -> Iterator[Any]:
    client = Redis.from_url(redis_url, protocol=2, socket_timeout=10, retry=Retry(NoBackoff(), 0))
    yield client
    client.close()


class OnServer:
    """One limit's state as the scripts keep it."""

    script: Script = compose("harness", HARNESS)

    def __init__(self, client: Any, limit: Limit) -> None:
        self.client = client
        self.limit = limit
        self.state: bytes = b""

    def step(self, now_ms: int, starts: int, period: Period | None) -> tuple[int, int, int]:
        """Allowed and free-at before ``starts`` are spent, worthless-at after."""
        at = period or Period(0, 0)
        arguments = [json.dumps([self.limit.wire()]), self.state, now_ms, starts, at.start_ms, at.end_ms]
        reply = self.client.execute_command(*self.script.command_with_text("x:y", arguments))
        allowed, free_at, self.state, worthless = reply
        return allowed, free_at, worthless


class InPackage:
    """The same limit in the `limits` package."""

    def __init__(self, rate: str, strategy: Strategy) -> None:
        self.item: RateLimitItem = parse(rate)
        self.storage = MemoryStorage()
        # Its cleaner is a thread that also drops what is on the edge of a window, some time or other.
        self.storage.timer.cancel()
        self.storage._MemoryStorage__schedule_expiry = lambda: None  # type: ignore[attr-defined]
        self.limiter = PACKAGE[strategy](self.storage)

    def allows(self, starts: int) -> bool:
        """By trying it: on the edge of a moving window `test` and `hit` disagree, and `hit` decides."""
        kept = {name: copy(getattr(self.storage, name)) for name in ("storage", "expirations", "events")}
        kept["events"] = {key: list(events) for key, events in kept["events"].items()}
        allowed = starts <= self.item.amount and self.limiter.hit(self.item, cost=starts)
        for name, value in kept.items():
            setattr(self.storage, name, value)
        return allowed

    def spend(self, starts: int) -> None:
        assert self.limiter.hit(self.item, cost=starts)


def undecidable(limit: Limit, state: Any, now_ms: int) -> bool:
    """The package weighs in floating point: a weight that is a whole number may fall on either side."""
    if limit.strategy is not Strategy.SLIDING_WINDOW_COUNTER or not state:
        return False
    index, previous, current = state
    rolled = now_ms // limit.window_ms - index
    weighed = previous if rolled == 0 else current if rolled == 1 else 0
    return bool(weighed) and weighed * (now_ms % limit.window_ms) % limit.window_ms == 0


@pytest.mark.parametrize("strategy", list(PACKAGE))
def test_three_ways_to_count(strategy: Strategy, client: Any) -> None:
    @settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
    @given(rate=st.sampled_from(RATES), offset=st.integers(0, 2 * MINUTE), steps=STEPS)
    def same(rate: str, offset: int, steps: list[tuple[int, int]]) -> None:
        limit = LimitRule(rate=rate, strategy=strategy).compile("UTC")
        server, package = OnServer(client, limit), InPackage(rate, strategy)
        now, state = NOW + offset, None
        for gap, wanted in steps:
            now += gap
            frozen.move_to(datetime.fromtimestamp(now / 1000, UTC))
            allowed = allowance(limit, state, now)
            if not undecidable(limit, state, now):
                for starts in range(1, limit.amount + 2):
                    assert package.allows(starts) == (starts <= allowed.starts)
            starts = min(wanted, allowed.starts)
            if starts and not package.allows(starts):
                starts = 0  # undecidable: follow the package
            on_server = server.step(now, starts, None)
            assert on_server[0] == allowed.starts
            if not allowed.starts:
                assert on_server[1] == allowed.free_at_ms
            if starts:
                package.spend(starts)
                state = spend(limit, state, now, starts)
                assert on_server[2] == worthless_at(limit, state)

    with freeze_time(datetime.fromtimestamp(NOW / 1000, UTC)) as factory:
        frozen = cast(FrozenDateTimeFactory, factory)
        same()


@given(
    zone=st.sampled_from(["UTC", "Europe/Madrid", "America/Sao_Paulo", "Asia/Kolkata", "Pacific/Apia"]),
    rate=st.sampled_from(["3/day", "4/2 days", "5/month", "6/year"]),
    steps=st.lists(st.tuples(st.integers(0, DAY), st.integers(1, 3)), min_size=1, max_size=40),
)
@settings(max_examples=60, deadline=None)
def test_a_calendar_quota_counts_what_started_in_its_period(
    zone: str, rate: str, steps: list[tuple[int, int]]
) -> None:
    limit = LimitRule(rate=rate).compile(zone)
    now, state = NOW, None
    history: list[int] = []
    for gap, wanted in steps:
        now += gap
        period = period_at(limit.period, now)
        used = sum(period.start_ms <= at < period.end_ms for at in history)
        allowed = allowance(limit, state, now, period)
        assert allowed == (limit.amount - used, period.end_ms)
        starts = min(wanted, allowed.starts)
        if starts:
            state = spend(limit, state, now, starts, period)
            history += [now] * starts
            assert worthless_at(limit, state, period) == period.end_ms


def test_calendar_in_lua(client: Any) -> None:
    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    @given(steps=st.lists(st.tuples(st.integers(-5, DAY), st.integers(1, 3)), min_size=1, max_size=30))
    def same(steps: list[tuple[int, int]]) -> None:
        limit = LimitRule(rate="4/day").compile("Europe/Madrid")
        server = OnServer(client, limit)
        now, state = NOW, None
        for gap, wanted in steps:
            now += gap
            period = period_at(limit.period, now)
            allowed = allowance(limit, state, now, period)
            starts = min(wanted, allowed.starts)
            on_server = server.step(now, starts, period)
            assert on_server[0] == allowed.starts
            assert allowed.starts or on_server[1] == allowed.free_at_ms
            if starts:
                state = spend(limit, state, now, starts, period)
                assert on_server[2] == worthless_at(limit, state, period)

    same()


STRATEGIES = st.sampled_from(list(Strategy))
WANDERING = st.lists(st.tuples(st.integers(-40_000, 90_000), st.integers(1, 3)), min_size=1, max_size=30)


def limit_of(strategy: Strategy) -> Limit:
    return LimitRule(
        rate="4/day" if strategy is Strategy.CALENDAR else "4/minute", strategy=strategy
    ).compile("UTC")


def test_clocks_that_differ_are_counted_alike_in_lua(client: Any) -> None:
    @settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
    @given(strategy=STRATEGIES, steps=WANDERING)
    def same(strategy: Strategy, steps: list[tuple[int, int]]) -> None:
        limit = limit_of(strategy)
        server = OnServer(client, limit)
        now, state = NOW - NOW % DAY, None  # midnight, also an edge of every other window
        for gap, wanted in steps:
            now += gap
            period = period_at(limit.period, now) if limit.period else None
            allowed = allowance(limit, state, now, period)
            starts = min(wanted, allowed.starts)
            on_server = server.step(now, starts, period)
            assert on_server[0] == allowed.starts
            assert allowed.starts or on_server[1] == allowed.free_at_ms
            if starts:
                state = spend(limit, state, now, starts, period)
                assert on_server[2] == worthless_at(limit, state, period)

    same()


@example(strategy=Strategy.CALENDAR, jitter=[(0, 0)] * 4 + [(9_000, 0)] * 3 + [(3_000, 0), (0, 1)])
@given(
    strategy=STRATEGIES, jitter=st.lists(st.tuples(st.integers(0, 9_000), st.integers(0, 900)), max_size=80)
)
@settings(max_examples=200, deadline=None)
def test_no_window_is_exceeded_by_clocks_that_differ(
    strategy: Strategy, jitter: list[tuple[int, int]]
) -> None:
    """Every start goes through one of many clocks that are up to a second behind the true one."""
    limit = limit_of(strategy)
    true_ms, state = NOW - NOW % DAY - 30_000, None  # over midnight
    counted: list[int] = []
    truly: list[int] = []
    for gap, behind in jitter:
        true_ms += gap
        now = true_ms - behind
        period = period_at(limit.period, now) if limit.period else None
        if allowance(limit, state, now, period).starts:
            state = spend(limit, state, now, 1, period)
            counted.append(now)
            truly.append(true_ms)
    for end, truly_end in zip(counted, truly, strict=True):
        match strategy:
            case Strategy.MOVING_WINDOW:
                # A clock that is behind shifts an edge by as much, and no further.
                window = [at for at in counted if end - limit.window_ms + 900 < at <= end]
            case Strategy.CALENDAR:
                # So the first 900 ms of a day may count for the day before; no later ones do.
                window = [at for at in truly if at // DAY == truly_end // DAY and at % DAY > 900]
            case _:
                continue
        assert len(window) <= limit.amount


def test_the_edge_of_a_window_is_not_opened_by_a_clock_that_is_behind() -> None:
    for strategy in Strategy:
        limit = limit_of(strategy)
        edge = NOW - NOW % DAY
        behind, ahead = edge - 1, edge + 1
        state = None
        for now in (ahead, ahead, ahead, ahead, behind, behind, ahead):
            period = period_at(limit.period, now) if limit.period else None
            if allowance(limit, state, now, period).starts:
                state = spend(limit, state, now, 1, period)
        period = period_at(limit.period, ahead) if limit.period else None
        assert allowance(limit, state, ahead, period).starts == 0, strategy
        assert (
            worthless_at(limit, state, period_at(limit.period, behind) if limit.period else None)
            > edge + 1000
        )


@given(
    strategy=st.sampled_from(list(Strategy)),
    steps=st.lists(st.tuples(GAPS, st.integers(1, 4)), min_size=1, max_size=30),
)
@settings(max_examples=300, deadline=None)
def test_frees_exactly_when_it_says(strategy: Strategy, steps: list[tuple[int, int]]) -> None:
    limit = limit_of(strategy)
    now, state = NOW, None
    for gap, wanted in steps:
        now += gap
        period = period_at(limit.period, now) if limit.period else None
        allowed = allowance(limit, state, now, period)
        if not allowed.starts:
            free_at = allowed.free_at_ms
            assert free_at > now
            for at, free in ((free_at - 1, False), (free_at, True)):
                then = period_at(limit.period, at) if limit.period else None
                assert bool(allowance(limit, state, at, then).starts) == free
            assert free_at <= worthless_at(limit, state, period)
        else:
            state = spend(limit, state, now, min(wanted, allowed.starts), period)


@pytest.mark.parametrize("strategy", list(Strategy))
def test_what_was_used_counts_on_when_the_amount_changes(strategy: Strategy, client: Any) -> None:
    """A published policy raises and lowers a limit in the middle of its window."""
    changing = st.lists(st.tuples(GAPS, st.integers(0, 4), st.integers(1, 6)), min_size=1, max_size=30)

    @given(steps=changing)
    @settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
    def same(steps: list[tuple[int, int, int]]) -> None:
        server, now, state = OnServer(client, limit_of(strategy)), NOW, None
        for gap, wanted, amount in steps:
            now += gap
            limit = server.limit = limit_of(strategy)._replace(amount=amount)
            period = period_at(limit.period, now) if limit.period else None
            allowed = allowance(limit, state, now, period)
            starts = min(wanted, allowed.starts)
            on_server = server.step(now, starts, period)
            assert on_server[0] == allowed.starts <= amount
            if not allowed.starts:
                free_at = allowed.free_at_ms
                assert on_server[1] == free_at > now
                for at, free in ((free_at - 1, False), (free_at, True)):
                    then = period_at(limit.period, at) if limit.period else None
                    assert bool(allowance(limit, state, at, then).starts) == free
            if starts:
                state = spend(limit, state, now, starts, period)

    same()


def test_all_or_nothing_over_several_limits(client: Any) -> None:
    limits = [LimitRule(rate=rate).compile("UTC").wire() for rate in ("2/minute", "3/hour")]
    arguments = [json.dumps(limits), b"", NOW, 2, 0, 0]
    script = OnServer.script
    reply = client.execute_command(*script.command_with_text("x:y", arguments))
    assert reply[0] == 2
    later = [json.dumps(limits), reply[2], NOW + MINUTE + 1, 0, 0, 0]
    assert client.execute_command(*script.command_with_text("x:y", later))[0] == 1
