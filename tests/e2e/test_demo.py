"""The whole system on real input, in short."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from tests.e2e.processes import ROOT, run


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_short_demo_accounts_for_every_action() -> None:
    done = run("demo", "--seconds", "8", "--json", timeout=110)
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(done.stdout)
    assert report["ok"]
    assert all(check["kept"] for check in report["checks"]), report["checks"]
    tiers = {tier["tier"]: tier for tier in report["tiers"]}
    assert [tier["tenants"] for tier in tiers.values()] == [4, 8, 12, 16]
    for tier in tiers.values():
        ended = tier["done"] + tier["failed"] + tier["cancelled"] + tier["expired"]
        assert ended == tier["accepted"] > 0
        assert tier["passage_found"] > 0.8 * tier["questions_answered"] > 0
    assert tiers["free"]["held_times"] > 0, "the noisy tenant met its limit"
    assert tiers["free"]["held_at_end"] > 100
    assert not tiers["enterprise"]["cancelled"]
    assert report["progress_callbacks"] > 0


@pytest.mark.slow
@pytest.mark.timeout(90)
def test_a_folder_of_ones_own(tmp_path: Path) -> None:
    for name in ("README.md", "CONTRIBUTING.md"):
        (tmp_path / name).write_text((ROOT / name).read_text())
    done = run("demo", "--path", str(tmp_path), "--seconds", "4", timeout=80)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"every action accounted for +ok", done.stdout)


def test_a_folder_without_texts_is_said_so(tmp_path: Path) -> None:
    done = run("demo", "--path", str(tmp_path))
    assert done.returncode == 1
    assert "holds no text file" in done.stderr
    assert "Traceback" not in done.stderr


def test_without_the_example_services_it_says_where_they_are(tmp_path: Path) -> None:
    """As after `pip install`, beside a user's own `services` package."""
    (tmp_path / "services").mkdir()
    (tmp_path / "services" / "__init__.py").touch()
    path = os.pathsep.join((str(tmp_path), str(ROOT)))
    done = run("demo", cwd=tmp_path, settings={"PYTHONPATH": path})
    assert done.returncode == 1, done.stdout
    assert "clone the repository" in done.stderr
    assert "Traceback" not in done.stderr
