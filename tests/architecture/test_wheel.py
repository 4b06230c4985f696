"""The wheel carries one import name and works beside a user's own `scheduler.py` and `services/`."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

PROGRAM = """
import json, sys
from pathlib import Path

checkout = Path(sys.argv[1])
# The environment of the tests has the checkout on its path; a user's has not.
sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != checkout]

import nooble_tasks
import scheduler
import services.orders
from nooble_tasks import _engine

ours = [module for name, module in sys.modules.items() if name.partition(".")[0] == "nooble_tasks"]
print(json.dumps({
    "engine": _engine.Engine.__module__,
    "scheduler": scheduler.__file__,
    "mine": [scheduler.MINE, services.orders.MINE],
    "folders": sorted({str(Path(module.__file__).resolve()) for module in ours if module.__file__}),
    "missing": [name for name in nooble_tasks.__all__ if not hasattr(nooble_tasks, name)],
}))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT],
        check=True,
        capture_output=True,
        timeout=120,
    )
    [path] = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with nothing but the installed wheel."""
    folder = tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*pip, "--target", folder, wheel], check=True, capture_output=True, timeout=120)
    return folder


def test_one_import_name_and_all_that_belongs_to_it(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"nooble_tasks"}
    moved = {
        f"nooble_tasks/_scheduler/{path.relative_to(ROOT / 'scheduler').as_posix()}"
        for path in (ROOT / "scheduler").rglob("*")
        if path.suffix in {".py", ".lua"}
    }
    kept = {path.relative_to(ROOT).as_posix() for path in (ROOT / "nooble_tasks").rglob("*.py")}
    assert moved
    assert names >= moved | kept | {"nooble_tasks/py.typed", "nooble_tasks/_config/tiers.toml"}


def test_the_editable_install_moves_nothing() -> None:
    """A copy of the engine inside the package would silently win over the one being worked on."""
    assert not (ROOT / "nooble_tasks" / "_scheduler").exists()


def test_it_works_beside_a_users_own_scheduler_and_services(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "scheduler.py").write_text("MINE = 'my scheduler'\n")
    (tmp_path / "services").mkdir()
    (tmp_path / "services" / "__init__.py").touch()
    (tmp_path / "services" / "orders.py").write_text("MINE = 'my orders'\n")
    (tmp_path / "program.py").write_text(PROGRAM)
    run = subprocess.run(
        [sys.executable, "program.py", str(ROOT)],
        cwd=tmp_path,
        env={"PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    seen = json.loads(run.stdout)
    assert seen["mine"] == ["my scheduler", "my orders"]
    assert seen["engine"].startswith("nooble_tasks._scheduler.")
    assert Path(seen["scheduler"]).parent == tmp_path
    assert all(Path(file).is_relative_to(installed.resolve()) for file in seen["folders"])
    assert seen["missing"] == []


def test_the_command_of_the_wheel_is_there(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    [entry_points] = [name for name in archive.namelist() if name.endswith("/entry_points.txt")]
    assert "nooble = nooble_tasks.cli:main" in archive.read(entry_points).decode()


def test_the_source_distribution_can_build_the_same_wheel(wheel: Path, tmp_path: Path) -> None:
    """`build` makes the wheel from the sdist when both are asked for, so nothing may be missing from it."""
    subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", tmp_path, ROOT],
        check=True,
        capture_output=True,
        timeout=120,
    )
    [rebuilt] = tmp_path.glob("*.whl")
    assert set(zipfile.ZipFile(rebuilt).namelist()) == set(zipfile.ZipFile(wheel).namelist())


def test_arq_is_an_extra_because_it_holds_redis_py_back() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert not any(requirement.startswith("arq") for requirement in project["dependencies"])
    assert "redis>=5.2,<9" in project["dependencies"]
