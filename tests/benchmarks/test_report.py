"""The page and the README's table say what the runs say."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from rich.console import Console

from benchmarks import page, plots, report, speed, tables
from benchmarks.figures import Spread, from_json, shown, spreads, to_json
from benchmarks.rounds import Result


def _run(**scenarios: Any) -> dict[str, Any]:
    tables = {name: to_json(spreads([rows, rows])) for name, rows in scenarios.items()}
    about = {"best": "at its best", "ranks": "", "tuned": "by hand"}
    return {
        "about": {
            "server": "redis 7",
            "python": "3.11",
            "machine": "a machine",
            "command": "python -m benchmarks " + " ".join(scenarios),
            "sizes": {"ours": 10, "rivals": 5, "rounds": 2},
            "peers": {"arq": {"version": "1.0", **about}, "saq": {"version": "2.0", **about}},
        },
        "scenarios": tables,
        "failed": {},
        "cut": "",
    }


def _drain(rate: float, us: float) -> dict[str, float]:
    return {"per_s": rate, "worker_us": us, "server_us": us, "bulk_per_s": rate}


RUN = _run(
    speed={"bare": {"drain_per_s": 90_000.0}, "ours, 100": _drain(20_000, 30), "arq": _drain(1_000, 500)},
    calls={"ours, 100": {"call_p50_ms": 2.0}, "arq": {"call_p50_ms": 9.0}, "saq": {"call_p50_ms": 1.5}},
    crash={
        "ours, 100": {"again": 100.0, "gave_up_s": 75.0, "first_s": 17.0, "all_s": 18.0},
        "arq": {"again": 0.0, "gave_up_s": 75.0},
        "saq": {"again": 10.0, "gave_up_s": 75.0, "first_s": 9.0},
    },
)


def _page(*runs: dict[str, Any]) -> str:
    return page.page(list(runs), report.tables(list(runs)))


def test_a_row_has_the_figures_of_its_subject() -> None:
    assert "| arq 1.0 | 1,000 | 500 | 500 | 1,000 | – |" in _page(RUN)
    assert "arq 1.0 20.0" in _page(RUN)  # the ratio of the rates


def test_what_did_not_come_back_says_so() -> None:
    text = _page(RUN)
    assert "| arq 1.0 | – | not within 75 s (0 of 100) |" in text
    assert "| SAQ 2.0 | 9 | not within 75 s (10 of 100) |" in text
    assert "| 17 | 18 |" in text


def test_a_rival_that_wins_is_named() -> None:
    text = _page(RUN)
    ahead = text[text.index("## Where a rival is ahead") : text.index("## Settings")]
    assert "SAQ 2.0 1.50, nooble-tasks 2" in ahead
    assert "arq" not in ahead
    assert "call p50: SAQ 2.0." in page.summary([RUN], report.tables([RUN]))


def test_the_summary_has_a_row_per_peer_of_the_no_op() -> None:
    text = page.summary([RUN], report.tables([RUN]))
    assert "| nooble-tasks, 100 tenants | 20,000 | 30 µs | 30 µs | 20,000 | 2 ms | – | – | 18 s |" in text
    assert "| arq 1.0 | 1,000 | 500 µs | 500 µs | 1,000 | 9 ms | – | – | not within 75 s |" in text


def test_a_later_run_replaces_its_scenarios_only() -> None:
    later = _run(calls={"ours, 100": {"call_p50_ms": 1.0}})
    kept = report.merged([RUN, later])
    assert [list(run["scenarios"]) for run in kept] == [["speed", "crash"], ["calls"]]
    assert report.merged([RUN, RUN]) == [RUN]


def test_figures_survive_json() -> None:
    table = spreads([{"a": {"per_s": 1234.5678}}, {"a": {"per_s": 1.0}}])
    assert from_json(json.loads(json.dumps(to_json(table))))["a"]["per_s"] == Spread(617.78, 1.0, 1234.6, 2)
    assert shown(Spread(1234.5, 1.0, 2000.0, 3)) == "1,234 (1..2,000)"
    assert shown(Spread(1.5, 1.5, 1.5, 1)) == "1.50"


def test_plots_are_well_formed_and_the_same_every_time() -> None:
    rows = {
        f"{size:,}": {"server_us_per_action": 50.0 + at, "data_mb": size / 500}
        for at, size in enumerate((10, 1_000, 100_000))
    }
    table = spreads([rows])
    made = plots.growth(table)
    assert made == plots.growth(table)
    for svg in made.values():
        root = ElementTree.fromstring(svg)
        texts = [found.text for found in root.iter("{http://www.w3.org/2000/svg}text")]
        assert "100,000" in texts
    assert "52" in made["growth-cost.svg"]


def test_a_file_that_is_no_run_is_named(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.json"
    wrong.write_text('{"speed": 1}')
    with pytest.raises(SystemExit, match=r"wrong\.json is not the result of a run"):
        report.main([str(wrong)])


def test_the_terminal_shows_the_same_and_who_failed() -> None:
    printed = io.StringIO()
    rows = {"ours, 100": {**_drain(20_000, 30), "client_us": 9.0}, "arq": _drain(1_000, 500)}
    result = Result({"speed": [rows]}, {"saq": "no wheel for [this] Python"}, "stopped by Ctrl-C")
    tables.show(Console(file=printed, width=120), [speed.SPEED], result)
    said = printed.getvalue()
    assert re.search(r"arq +│ +1,000 │ +500 │", said)
    assert re.search(r"client_us +│ +9 │", said)
    assert "saq: no wheel for [this] Python" in said
    assert "not all rounds: stopped by Ctrl-C" in said
