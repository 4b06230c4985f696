"""Arrows point down only, and the check that says so can fail."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("nooble_tasks", "scheduler", "services")


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_the_contracts_hold() -> None:
    result = lint_imports(ROOT)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(
    ("file", "statement"),
    [
        ("scheduler/intruder.py", "import nooble_tasks.errors"),
        ("nooble_tasks/intruder.py", "import services.embedding"),
        ("nooble_tasks/intruder.py", "import scheduler.keys"),
        ("services/intruder.py", "from scheduler import keys"),
    ],
)
def test_the_contracts_can_be_broken(tmp_path: Path, file: str, statement: str) -> None:
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / file).write_text(f"{statement}\n")
    result = lint_imports(tmp_path)
    assert result.returncode == 1, result.stdout + result.stderr
    assert "intruder" in result.stdout


def imported_names(path: Path) -> set[str]:
    """Top-level packages that a file imports by absolute name."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module.partition(".")[0])
    return names


@pytest.mark.parametrize("package", ["nooble_tasks", "scheduler"])
def test_what_the_wheel_moves_imports_itself_relatively(package: str) -> None:
    """An absolute `import scheduler` inside the engine would find the user's own in an installed wheel."""
    foreign = set(PACKAGES) if package == "scheduler" else {"services"}
    wrong = {
        str(path.relative_to(ROOT))
        for path in (ROOT / package).rglob("*.py")
        if imported_names(path) & foreign
    }
    assert not wrong
