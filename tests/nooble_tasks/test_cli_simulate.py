"""`nooble simulate`: its tables, its JSON, its page and its exit codes."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from nooble_tasks.cli.simulate_plots import moments_of
from tests.nooble_tasks.looking import Nooble

POLICY = """
default_tier = "free"
[tiers.gold]
priority = 1
[tiers.free]
priority = 2
limits = ["20/minute"]
"""
SCENARIO = """
name = "two <tiers>"
domain = "load"
duration = "3min"
[[groups]]
name = "busy"
tier = "free"
tenants = 2
arrivals = { kind = "backlog", actions = 60 }
actions = [{ type = "load.job", run_time = { kind = "fixed", value = "1s" } }]
[[groups]]
name = "calm"
tier = "gold"
arrivals = { kind = "poisson", per_minute = 20 }
actions = [{ type = "load.job", run_time = { kind = "exponential", mean = "2s" } }]
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "tiers.toml").write_text(POLICY, encoding="utf-8")
    (tmp_path / "other.toml").write_text(POLICY.replace("20/minute", "5/minute"), encoding="utf-8")
    (tmp_path / "day.toml").write_text(SCENARIO, encoding="utf-8")
    row = "arrival_ms,tenant,tier,action_type,run_ms\n0,a,free,load.job,5\n"
    (tmp_path / "one.csv").write_text(row, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Nooble:
    """Runs commands in the folder of the example, without any server."""
    monkeypatch.setenv("NOOBLE_REDIS_URL", "redis://127.0.0.1:1/0")
    return Nooble(monkeypatch)


TRACE = ("simulate", "--policy", "tiers.toml", "--trace", "one.csv")
SMALL = ("simulate", "--policy", "tiers.toml", "--workload", "day.toml", "--slots", "1")


@pytest.mark.parametrize("columns", [80, 120])
async def test_what_it_shows(here: Nooble, columns: int) -> None:
    done = await here(*SMALL, "--workers", "2", "--tenants", "2", columns=columns)
    assert done.code == 0, done.err
    assert max(len(line) for line in done.out.splitlines()) <= columns
    assert "tiers.toml on 2 × 1 slots" in done.out
    gold, free = done.table
    assert gold.startswith("gold")
    assert gold.rstrip().endswith("–")
    assert free.startswith("free")
    assert "20/minute" in free
    assert "busy-1" in done.text
    assert ("fair" in done.text.split("gold")[0].split("tier ")[1]) == (columns == 120)


async def test_the_same_seed_gives_the_same_json(here: Nooble) -> None:
    first, again = [await here(*SMALL, "--workers", "2", "--json", "--seed", "5") for _ in range(2)]
    other = await here(*SMALL, "--workers", "2", "--json", "--seed", "6")
    assert first.out == again.out != other.out
    told = json.loads(first.out)
    [run] = told["runs"]
    assert told["load"]["actions"] == run["arrived"] == run["started"] > 60
    assert {tier["tier"] for tier in run["tiers"]} == {"gold", "free"}
    assert sum(tenant["started"] for tenant in run["tenants"]) == run["started"]
    assert abs(sum(tier["share"] for tier in run["tiers"]) - 1) < 1e-5
    assert run["tiers"][1]["held_ms"]["20/minute"] > 0


async def test_policies_side_by_side(here: Nooble) -> None:
    done = await here(*SMALL, "--policy", "other.toml", "--workers", "2")
    assert done.code == 0, done.err
    table = done.out.split("p99 of queue_time")[1]
    assert [line.split()[0] for line in table.splitlines() if "2 × 1" in line] == ["tiers.toml", "other.toml"]


async def test_what_is_refused_is_shown_and_misses_the_target(here: Nooble, folder: Path) -> None:
    (folder / "tiers.toml").write_text(f"{POLICY}max_backlog = 10\n", encoding="utf-8")
    done = await here(*SMALL, "--workers", "1", "--target", "free.p99=10h", "--max-workers", "2")
    assert done.code == 1
    assert "refused (backlog)" in done.text
    assert "no fleet meets all targets on up to 2 × 1 slots, tiers.toml: free.p99 is" in done.text
    assert "are refused" in done.text


async def test_a_target_that_limits_make_impossible_says_which(here: Nooble) -> None:
    done = await here(*SMALL, "--workers", "1", "--target", "free.p99=10s", "--max-workers", "2")
    assert done.code == 1
    [why] = re.findall(r"free.p99 is .* there, held by (\S+)$", done.text)
    assert why == "20/minute"


@pytest.mark.parametrize("columns", [32, 60])
async def test_a_narrow_terminal_shows_fewer_figures_and_all_of_each(here: Nooble, columns: int) -> None:
    done = await here(*SMALL, "--policy", "other.toml", "--workers", "2", "--tenants", "2", columns=columns)
    assert done.code == 0, done.err
    assert "…" not in done.out
    assert "20/minute for" in done.text
    assert max(map(len, done.out.splitlines())) <= columns
    assert bool(re.search(r"other.toml on 2 × 1 slots: gold .*, free ", done.text)) == (columns == 32)


@pytest.mark.parametrize(
    ("until_ms", "labels"),
    [
        (1, ["0", "1 ms"]),
        (86_399_000, ["0", "6 h", "12 h", "18 h", "24 h"]),
        (1_800_000, ["0", "5 min", "10 min", "15 min", "20 min", "25 min", "30 min"]),
        (23 * 86_400_000, ["0", "5 days", "10 days", "15 days", "20 days"]),
    ],
)
def test_an_axis_of_time_has_round_moments(until_ms: int, labels: list[str]) -> None:
    assert [label for _, label in moments_of(until_ms)] == labels


async def test_a_target_that_is_missed_and_the_fleet_that_meets_it(here: Nooble) -> None:
    missed = await here(*SMALL, "--workers", "1", "--target", "gold.p99=100ms")
    assert missed.code == 1
    assert "gold.p99=100ms missed" in missed.text
    [needed] = re.findall(r"smallest fleet that meets all targets: (\d+) ×", missed.text)
    met = await here(*SMALL, "--workers", needed, "--target", "gold.p99=100ms")
    assert met.code == 0, met.text
    one_less = await here(*SMALL, "--workers", str(int(needed) - 1), "--target", "gold.p99=100ms")
    assert one_less.code == 1


async def test_what_if(here: Nooble) -> None:
    done = await here(*SMALL, "--what-if", "workers=1,2,40", "--target", "gold.p99=100ms", "--json")
    told = json.loads(done.out)
    assert [run["workers"] for run in told["runs"]] == [1, 2, 40]
    met = {verdict["workers"]: verdict["met"] for verdict in told["targets"]}
    assert met[40]
    assert not met[1]
    assert told["smallest"] == [
        {"policy": "tiers.toml", "slots": 1, "workers": 2 if met[2] else 40, "tried": 40, "why": ""}
    ]
    assert done.code == 0


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("simulate",), 2, "--policy FILE"),
        (("simulate", "--policy", "tiers.toml"), 2, "--workload FILE or --trace CSV"),
        ((*SMALL, "--what-if", "worker=4"), 2, "write workers=4,8,16"),
        ((*SMALL, "--what-if", "slots=501"), 2, "1 to 500 slots"),
        ((*SMALL, "--target", "gold.p98=1s"), 2, "no measure 'p98'"),
        ((*SMALL, "--target", "golds.p99=1s"), 2, "did you mean 'gold'"),
        ((*SMALL, "--where", "a=b"), 2, "--where is about a trace"),
        ((*TRACE, "--seed", "4"), 2, "--seed is of random numbers"),
        ((*TRACE, "--skew", "0"), 2, "--skew is about the tenants of --invent-tenants"),
        ((*TRACE, "--fit", "0"), 2, "--fit: into no time nothing fits"),
        ((*TRACE, "--tier-rule", "plan"), 2, "'plan' is no tier rule"),
        ((*TRACE, "--tier-rule", "fixed:glod"), 1, "did you mean 'gold'?; tiers.toml has gold, free"),
        ((*SMALL, "--html", "none/report.html"), 1, "none/report.html: cannot be written: No such file"),
        ((*SMALL, "--policy", "none.toml"), 1, "none.toml: cannot be read"),
        (("simulate", "--policy", "tiers.toml", "--workload", "tiers.toml"), 1, "unknown key 'tiers'"),
        (("simulate", "--policy", "tiers.toml", "--trace", "other.toml"), 1, "row 1 names no columns"),
    ],
)
async def test_what_is_wrong_is_told(here: Nooble, arguments: tuple[str, ...], code: int, says: str) -> None:
    done = await here(*arguments)
    assert done.code == code
    assert says in " ".join(done.err.split())
    assert "Traceback" not in done.err


async def test_a_page_is_not_begun_before_there_is_something_to_write(here: Nooble, folder: Path) -> None:
    (folder / "old.html").write_text("last week", encoding="utf-8")
    for name in ("old.html", "new.html"):
        done = await here(*TRACE, "--tier-rule", "fixed:glod", "--html", name)
        assert done.code == 1
    assert (folder / "old.html").read_text(encoding="utf-8") == "last week"
    assert not (folder / "new.html").exists()


class Page(HTMLParser):
    """Everything that opens is closed, and nothing is fetched from elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        assert not {"src", "href"} & {name for name, _ in attributes}
        self.seen.append(tag)
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


async def test_the_page_holds_the_figures(here: Nooble, folder: Path) -> None:
    done = await here(*SMALL, "--policy", "other.toml", "--target", "gold.p99=9s", "--html", "report.html")
    text = (folder / "report.html").read_text(encoding="utf-8")
    page = Page()
    page.feed(text)
    assert page.open == []
    assert (
        sorted(words for words in page.words if words.startswith("busy-")) == ["busy-1"] * 2 + ["busy-2"] * 2
    )
    assert {"Side by side", "queue_time, p50", "Share of worker-seconds"} <= set(page.words)
    assert page.seen.count("svg") == 6  # per policy: waits, shares, held
    assert "two <tiers>" in "".join(page.words)
    shown = [word for row in done.table for word in re.findall(r"[\d.]+ (?:ms|s|min|h|days)|[\d.]+%", row)]
    assert shown
    assert not [word for word in shown if word not in page.words and word not in " ".join(page.words)]
    strokes = set(re.findall(r'<polyline fill="none" stroke="(#\w+)"[^>]+points="[\d., ]+"', text))
    assert len(strokes) == 2  # a colour per tier
