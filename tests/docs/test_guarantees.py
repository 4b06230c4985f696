"""docs/guarantees.md: every line names a test that exists."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "guarantees.md"


def test_every_promise_names_tests_that_exist() -> None:
    page = PAGE.read_text(encoding="utf-8")
    promises = page[: page.index("## What is not promised")]
    rows = [row for row in promises.splitlines() if row.startswith("| ") and not row.startswith("| promise")]
    assert len(rows) >= 20
    missing = []
    for row in rows:
        named = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", row)
        assert named, f"no test: {row}"
        for file, test in named:
            source = (ROOT / file).read_text(encoding="utf-8") if (ROOT / file).is_file() else ""
            if not re.search(rf"^(async )?def {test}\(", source, re.MULTILINE):
                missing.append(f"{file}::{test}")
    assert not missing, f"docs/guarantees.md names tests that do not exist: {missing}"


def test_every_finding_of_the_server_check_is_explained() -> None:
    source = (ROOT / "nooble_tasks" / "server_check.py").read_text(encoding="utf-8")
    codes = set(re.findall(r'^\s+"(?:error|warning)",\s*"(\w+)",', source, re.MULTILINE))
    assert {"eviction", "persistence", "replicas"} <= codes
    page = PAGE.read_text(encoding="utf-8")
    assert not {code for code in codes if f"`{code}`" not in page}
