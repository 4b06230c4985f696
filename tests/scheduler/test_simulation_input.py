"""Scenarios and traces: what they give, and that what is wrong with one is named, with row and column."""

from __future__ import annotations

import gzip
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from scheduler.simulation import (
    OptionError,
    Scenario,
    ScenarioError,
    SimulationError,
    TraceError,
    TraceFormat,
    parse_tier_rule,
    read_trace,
    span_ms,
)
from scheduler.simulation.spans import span_text

ROOT = Path(__file__).parents[2]
HEAD = 'domain = "load"\nduration = "24h"\n[[groups]]\nname = "g"\ntier = "t"\ntenants = 100\n'
ACTIONS = 'actions = [{ type = "load.job", run_time = { kind = "fixed", value = "1s" } }]\n'
POISSON = 'arrivals = { kind = "poisson", per_minute = 10 }\n'


def scenario(arrivals: str = POISSON, actions: str = ACTIONS, more: str = "") -> Scenario:
    return Scenario.parse(HEAD + more + arrivals + actions)


@pytest.mark.parametrize(
    "arrivals",
    [
        "kind = 'poisson', per_minute = 10",
        "kind = 'bursty', per_minute = 10, burst = 5",
        "kind = 'diurnal', per_minute = 10, peak_to_trough = 6",
    ],
)
def test_arrivals_have_the_rate_that_was_asked_for(arrivals: str) -> None:
    made = scenario(f"arrivals = {{ {arrivals} }}\n").generate(1).arrivals
    assert abs(len(made) - 14_400) < 900
    assert [each.at_ms for each in made] == sorted(each.at_ms for each in made)
    assert made[0].at_ms >= 0
    assert made[-1].at_ms < 86_400_000


def test_a_day_has_a_peak_and_a_trough() -> None:
    text = "arrivals = { kind = 'diurnal', per_minute = 20, peak_to_trough = 4, peak_hour = 15 }\n"
    hours = Counter(each.at_ms // 3_600_000 for each in scenario(text).generate(1).arrivals)
    assert 3.2 < (hours[14] + hours[15]) / (hours[2] + hours[3]) < 4.8


def test_bursts_are_of_one_tenant() -> None:
    made = scenario("arrivals = { kind = 'bursty', per_minute = 10, burst = 30 }\n").generate(1).arrivals
    bursts = Counter((each.at_ms, each.tenant) for each in made)
    assert 22 < len(made) / len(bursts) < 38


def test_a_backlog_is_there_at_once() -> None:
    made = scenario("arrivals = { kind = 'backlog', actions = 70, at = '5min' }\n").generate(1).arrivals
    assert [each.at_ms for each in made] == [300_000] * 70


@pytest.mark.parametrize("kind", ["exponential", "lognormal", "pareto"])
def test_run_times_have_the_mean_that_was_asked_for(kind: str) -> None:
    more = ", alpha = 3" if kind == "pareto" else ""
    actions = f"actions = [{{ type = 'load.job', run_time = {{ kind = '{kind}', mean = '2s'{more} }} }}]\n"
    runs = [each.run_ms for each in scenario(actions=actions).generate(1).arrivals]
    assert 1_850 < sum(runs) / len(runs) < 2_150
    assert len(set(runs)) > 1_000


def test_the_tail_of_tenants_is_heavy() -> None:
    made = Counter(each.tenant for each in scenario(more="skew = 1.0\n").generate(1).arrivals)
    assert 1.7 < made["g-1"] / made["g-2"] < 2.3
    even = Counter(each.tenant for each in scenario().generate(1).arrivals)
    assert max(even.values()) < 2 * min(even.values())


def test_shares_of_action_types() -> None:
    actions = (
        "actions = [{ type = 'load.often', share = 9, run_time = { kind = 'fixed', value = 1 } }, "
        "{ type = 'load.seldom', run_time = { kind = 'fixed', value = 5 } }]\n"
    )
    made = Counter(each.action_type for each in scenario(actions=actions).generate(1).arrivals)
    assert 8 < made["load.often"] / made["load.seldom"] < 10


def test_another_group_changes_nothing_of_the_first() -> None:
    one = scenario()
    other = "[[groups]]\nname = 'h'\ntier = 't'\n" + POISSON + ACTIONS
    two = Scenario.parse(HEAD + POISSON + ACTIONS + other)
    assert [each for each in two.generate(7).arrivals if each.tenant.startswith("g-")] == one.generate(
        7
    ).arrivals


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (HEAD.replace("tenants", "tenant") + POISSON + ACTIONS, "unknown key 'groups.0.tenant'.*'tenants'"),
        (HEAD + POISSON.replace("per_minute", "per_minut") + ACTIONS, "did you mean 'per_minute'"),
        (HEAD + POISSON.replace("poisson", "poison") + ACTIONS, "did you mean 'poisson'"),
        (HEAD + POISSON + ACTIONS.replace("1s", "a while"), "'a while' is no length of time"),
        (HEAD + POISSON + ACTIONS.replace("load.job", "other.job"), "no action type of domain 'load'"),
        (HEAD + POISSON.replace("10", "0") + ACTIONS, "per_minute: 0 must be above 0"),
        (HEAD + POISSON, "actions: is missing"),
        (HEAD + POISSON + ACTIONS.replace("value", "mean"), r"'groups.0.*fixed.mean'; there are kind, value"),
        (HEAD + POISSON + "actions = []", "groups.0.actions: needs at least one table"),
        (
            HEAD.replace("[[groups]]", "[groups]") + POISSON + ACTIONS,
            r"groups: is no list; write \[\[groups\]\]",
        ),
        ("start = 1969-12-31\n" + HEAD + POISSON + ACTIONS, "begins before 1970"),
        ("start = 9999-12-31\n" + HEAD + POISSON + ACTIONS, "ends after the year 9000"),
        ("domain =", "not valid TOML"),
    ],
)
def test_what_is_wrong_with_a_scenario_is_named(text: str, says: str) -> None:
    with pytest.raises(ScenarioError, match=says) as caught:
        Scenario.parse(text, source="day.toml")
    assert str(caught.value).startswith("day.toml: ")
    assert "Tuple" not in str(caught.value)  # a wrong group is no missing one


def test_the_scenarios_of_the_repository() -> None:
    files = sorted((ROOT / "config" / "scenarios").glob("*.toml"))
    assert files
    for file in files:
        assert Scenario.load(file).generate(1).arrivals


@pytest.mark.parametrize(
    ("text", "ms"), [("250ms", 250), ("2s", 2_000), ("1.5h", 5_400_000), ("30min", 1_800_000), (2.5, 2_500)]
)
def test_lengths_of_time(text: str | float, ms: int) -> None:
    assert span_ms(text) == ms


@pytest.mark.parametrize(
    "ms", [0, 1, 999, 1_000, 1_001, 1_500, 59_500, 90_000, 5_400_000, 86_400_000, 10**12 + 7]
)
def test_a_length_of_time_is_written_as_it_is_read(ms: int) -> None:
    assert span_ms(span_text(ms)) == ms
    assert span_text(2_000) == "2s"
    assert span_text(100) == "100ms"
    assert span_text(5_400_000) == "1.5h"


TRACE = """when,who,what,took,state
2030-01-01 10:00:05,b,TXT_2_IMG,1.5,ok
2030-01-01 10:00:00,a,load.make,2,ok
2030-01-01 10:00:02,a,load.make,7,failed
2030-01-01T10:00:10Z,a,load.make,0,ok
"""
FORM = TraceFormat(
    time_column="when",
    tenant_column="who",
    duration_column="took",
    duration_unit="s",
    type_column="what",
    domain="load",
)


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    path = tmp_path / "day.csv"
    path.write_text(TRACE, encoding="utf-8")
    return path


def test_a_trace_of_any_shape(trace: Path) -> None:
    made = read_trace(
        trace, FORM._replace(where=("state!=failed",)), parse_tier_rule("share:gold=50%,free=rest")
    )
    assert (made.name, made.domain, made.start_ms) == ("day.csv", "load", 1_893_492_000_000)
    assert [tuple(each) for each in made.arrivals] == [
        (0, "a", "gold", 2_000, "load.make"),
        (5_000, "b", "free", 1_500, "load.txt_2_img"),
        (10_000, "a", "gold", 1, "load.make"),
    ]


def test_a_trace_is_squeezed(trace: Path) -> None:
    made = read_trace(trace, FORM._replace(fit_ms=1_000), parse_tier_rule("fixed:t"))
    assert [each.at_ms for each in made.arrivals] == [0, 200, 500, 1_000]
    assert [each.run_ms for each in made.arrivals] == [2_000, 7_000, 1_500, 1]


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("2030-01-01 10:00:02", "yesterday", r"row 4, column 'when': 'yesterday' is not an ISO 8601 time"),
        (",7,", ",,", r"row 4, column 'took': '' is empty"),
        (",7,", ",long,", r"row 4, column 'took': 'long' is no number"),
        (",7,", ",-1,", r"row 4, column 'took': '-1' is negative"),
        (",7,", ",nan,", r"row 4, column 'took': 'nan' is no finite number"),
        ("05,b,", "05,b:c,", r"row 2, column 'who': 'b:c' is no tenant id"),
        ("TXT_2_IMG", "---", r"row 2, column 'what': '---' is no action type"),
        (",7,failed", "", r"row 4 has fewer columns"),
        ("when,who", "when,whose", r"row 1: no column 'who', did you mean 'whose'\?"),
        (TRACE, "", r"row 1 names no columns"),
        (",7,failed", ",7,failed,8", r"row 4 has more columns"),
        ("when,who,what,took,state", "when,who,what,took,took", r"row 1: two columns are named 'took'"),
        (
            "when,who,what,took,state",
            "when;who;what",
            r"no column 'when'.*separated by commas; --time-column names",
        ),
        ("2030-01-01 10:00:02", "1969-01-01", r"day.csv begins before 1970; --time-format says"),
        ("2030-01-01 10:00:02", "9e17", r"day.csv ends after the year 9000"),
        (TRACE.split("\n", 1)[1], "", r"no row is left to play"),
    ],
)
def test_what_is_wrong_with_a_trace_is_named(trace: Path, old: str, new: str, says: str) -> None:
    assert old in TRACE
    trace.write_text(TRACE.replace(old, new), encoding="utf-8")
    with pytest.raises(TraceError, match=says):
        read_trace(trace, FORM, parse_tier_rule("fixed:t"))


@pytest.mark.parametrize(
    ("form", "text", "start_ms"),
    [
        ("auto", "1893492000", 1_893_492_000_000),
        ("auto", "1893492000000", 1_893_492_000_000),
        ("ms", "1000", 1_000),
        ("s", "1000.5", 1_000_500),
        ("%d.%m.%Y %H:%M", "01.01.2030 10:00", 1_893_492_000_000),
        ("iso", "2030-01-01T12:00:00+02:00", 1_893_492_000_000),
    ],
)
def test_formats_of_time(tmp_path: Path, form: str, text: str, start_ms: int) -> None:
    path = tmp_path / "day.csv"
    path.write_text(f"when,tenant,run_ms\n{text},a,5\n", encoding="utf-8")
    made = read_trace(path, TraceFormat(time_column="when", time_format=form), parse_tier_rule("fixed:t"))
    assert made.start_ms == start_ms


@pytest.mark.parametrize(
    ("head", "at_ms", "run_ms"),
    [
        ("arrival_ms,tenant,run_ms", 250, 5),
        ("at_s,tenant,took_seconds", 250_000, 5_000),
        ("at,tenant,run_us", 250_000, 1),
    ],
)
def test_a_unit_in_a_columns_name_is_believed(tmp_path: Path, head: str, at_ms: int, run_ms: int) -> None:
    path = tmp_path / "day.csv"
    path.write_text(f"{head}\n0,a,5\n250,a,5\n", encoding="utf-8")
    at, _, took = head.split(",")
    made = read_trace(path, TraceFormat(time_column=at, duration_column=took), parse_tier_rule("fixed:t"))
    assert [(each.at_ms, each.run_ms) for each in made.arrivals] == [(0, run_ms), (at_ms, run_ms)]


def test_a_trace_without_tenants_and_durations(tmp_path: Path) -> None:
    path = tmp_path / "requests.csv"
    path.write_text("at,tokens\n" + "2030-01-01,40\n" * 3_000, encoding="utf-8")
    form = TraceFormat(time_column="at", duration_column="tokens", duration_unit="25ms", invent=50)
    made = read_trace(path, form, parse_tier_rule("share:gold=2%,free=rest"))
    assert {each.run_ms for each in made.arrivals} == {1_000}
    counts = Counter(each.tenant for each in made.arrivals)
    assert 40 <= len(counts) <= 50
    assert 1.6 < counts["tenant-1"] / counts["tenant-2"] < 2.4
    assert {each.tenant for each in made.arrivals if each.tier == "gold"} == {"tenant-1"}
    assert read_trace(path, form, parse_tier_rule("fixed:t")) == read_trace(
        path, form, parse_tier_rule("fixed:t")
    )
    other = read_trace(path, form._replace(seed=2), parse_tier_rule("fixed:t"))
    assert Counter(each.tenant for each in other.arrivals) != counts
    alike = read_trace(path, form._replace(skew=0.0), parse_tier_rule("fixed:t"))
    assert max(Counter(each.tenant for each in alike.arrivals).values()) < 120


def test_a_run_time_beyond_all_numbers_is_a_long_one(trace: Path) -> None:
    trace.write_text(TRACE.replace(",7,", ",1e308,"), encoding="utf-8")
    made = read_trace(trace, FORM, parse_tier_rule("fixed:t"))
    assert max(each.run_ms for each in made.arrivals) == 10**15


def test_a_packed_trace(trace: Path, tmp_path: Path) -> None:
    packed = tmp_path / "day.csv.gz"
    packed.write_bytes(gzip.compress(trace.read_bytes()))
    rule = parse_tier_rule("fixed:t")
    assert read_trace(packed, FORM, rule).arrivals == read_trace(trace, FORM, rule).arrivals
    packed.write_bytes(packed.read_bytes()[:40])
    with pytest.raises(TraceError, match=r"day.csv.gz: cannot be unpacked"):
        read_trace(packed, FORM, rule)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"domain": "A b"}, "--domain 'A b' is no domain"),
        ({"where": ("who",)}, "--where 'who' is no filter"),
        ({"duration_unit": "auto"}, "what is 1 in the column 'took'"),
        ({"duration_unit": "25"}, "--duration-unit '25' is no unit"),
        ({"duration_unit": "0ms"}, "--duration-unit '0ms' is no unit"),
        ({"duration_unit": "minutes"}, "--duration-unit 'minutes' is no unit"),
    ],
)
def test_an_option_that_cannot_be(trace: Path, change: dict[str, Any], says: str) -> None:
    with pytest.raises(OptionError, match=says):
        read_trace(trace, FORM._replace(**change), parse_tier_rule("fixed:t"))


def test_tiers_by_a_column_and_by_share() -> None:
    assert parse_tier_rule("column:plan").column == "plan"
    rule = parse_tier_rule("share:gold=10%,silver=0.2,free=rest")
    tiers = Counter(rule.tiers_of({f"tenant-{n}": n for n in range(10)}).values())
    assert tiers == {"gold": 1, "silver": 2, "free": 7}
    assert rule.tiers_of({f"tenant-{n}": n for n in range(10)})["tenant-9"] == "gold"


@pytest.mark.parametrize(
    "text", ["plan", "fixed:", "share:gold=10%", "share:gold=60%,free=50%", "share:gold=ten,free=rest"]
)
def test_a_tier_rule_that_cannot_be(text: str) -> None:
    with pytest.raises(SimulationError, match="tier rule"):
        parse_tier_rule(text)
