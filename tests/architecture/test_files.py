"""Small rooms, pinned versions without addresses, and prose that speaks of the project alone."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LONGEST_FILE = 350

TOO_LONG: dict[str, tuple[int, str]] = {}
"""File -> (its lines, why it may be longer). The number is a ratchet: it may only go down."""


def code_files() -> list[Path]:
    folders = ("nooble_tasks", "scheduler", "services", "tests", "benchmarks")
    return [
        path
        for folder in folders
        for path in sorted((ROOT / folder).rglob("*"))
        if path.suffix in {".py", ".lua"} and "__pycache__" not in path.parts
    ]


def test_files_stay_small() -> None:
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in code_files()}
    assert lengths
    too_long = {
        name: length for name, length in lengths.items() if length > TOO_LONG.get(name, (LONGEST_FILE, ""))[0]
    }
    assert not too_long, f"split these by role, or list them in TOO_LONG with the reason: {too_long}"
    settled = {name for name, (allowed, _) in TOO_LONG.items() if lengths.get(name, 0) < allowed}
    assert not settled, f"these became shorter: lower or remove their numbers in TOO_LONG: {settled}"


def test_pins_are_names_and_versions_only() -> None:
    pin = re.compile(r"[A-Za-z0-9._-]+==[A-Za-z0-9.+!]+( ; [a-z_]+ < \"[0-9.]+\")?")
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    wrong = [line for line in lines if line and not line.startswith("#") and not pin.fullmatch(line)]
    assert not wrong
    assert "redis==5.3.1" in lines  # the newest that arq allows; the newest of all has a run of its own


@pytest.mark.parametrize("name", ["Makefile", "pyproject.toml", "constraints.txt", ".ci/run"])
def test_no_path_or_index_of_one_machine(name: str) -> None:
    text = (ROOT / name).read_text()
    assert not re.search(r"(^|[\s\"'=:(])/(home|root|Users|work)/", text)
    assert not re.search(r"index-url|find-links|file://", text)
