"""docs/benchmarks.md, its plots and the README's table are what the generator makes from the committed runs.

`python -m benchmarks report` writes them anew.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from benchmarks import report

RUNS = json.loads(report.DATA.read_text(encoding="utf-8"))
README = report.README.read_text(encoding="utf-8")


@pytest.mark.parametrize("path", report.files(RUNS, README), ids=lambda path: path.name)
def test_what_is_generated_is_what_the_runs_say(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == report.files(RUNS, README)[path]


def test_the_page_has_every_scenario() -> None:
    found = report.tables(RUNS)
    assert found.keys() >= {"speed", "sleep", "large", "calls", "idle", "noisy", "crash", "scaling", "verbs"}
    rivals = {"arq", "saq", "streaq", "taskiq", "dramatiq", "celery"}
    for scenario in ("speed", "sleep", "large", "calls", "idle", "noisy", "crash"):
        assert rivals <= found[scenario].keys(), scenario


def test_the_readme_quotes_speed_nowhere_else() -> None:
    inside = re.search(r"<!-- benchmarks: .*?<!-- end of benchmarks -->", README, re.DOTALL)
    assert inside
    outside = README.replace(inside[0], "")
    assert not re.search(r"\d (µs|ms)\b|\d[\d,]*(/s| (tasks|actions|commands) per second)\b", outside)
