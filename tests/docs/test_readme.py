"""The README's example, run literally in an empty folder."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

README = Path(__file__).parents[2] / "README.md"
COMMANDS = Path(sys.executable).parent  # where `nooble` is
DOCUMENTS = [README, *sorted((README.parent / "docs").glob("*.md")), README.parent / "CONTRIBUTING.md"]


def _blocks() -> dict[str, str]:
    """The code blocks that follow a line that names a file."""
    text = README.read_text(encoding="utf-8")
    return dict(re.findall(r"^`([\w.]+)`:\n\n```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty folder with the README's files."""
    for name, text in _blocks().items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


@pytest.fixture
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A user's environment: their own state folder, the commands on PATH."""
    inherited = {name: value for name, value in os.environ.items() if name != "NOOBLE_TIERS_FILE"}
    return inherited | {
        "PATH": f"{COMMANDS}{os.pathsep}{os.environ['PATH']}",
        "XDG_STATE_HOME": str(tmp_path_factory.mktemp("state")),
    }


@pytest.fixture
def system(folder: Path, environment: dict[str, str]) -> Iterator[None]:
    """`nooble up`, until its worker has joined."""
    process = subprocess.Popen(
        ["nooble", "up"],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert process.stdout is not None
        said = []
        for line in process.stdout:
            said.append(line)
            if "greeting" in line and "ready" in line:
                break
        else:
            pytest.fail("nooble up ended before its worker was ready:\n" + "".join(said))
        yield
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)


@pytest.mark.timeout(90)
@pytest.mark.usefixtures("system")
def test_the_example_runs_as_it_stands(folder: Path, environment: dict[str, str]) -> None:
    def run(*command: str) -> str:
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=30, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    assert run("python", "ask.py") == "hello Ada"
    call = ["nooble", "call", "greeting.say", "--tenant", "acme", "--data", '{"name": "Ada"}']
    assert run(*call) == '"hello Ada"'
    assert "greeting" in run("nooble", "status")


def test_the_files_of_the_example_are_all_there() -> None:
    assert set(_blocks()) == {"greeting.py", "ask.py", "Procfile"}
    assert len(_blocks()["greeting.py"].splitlines()) <= 10


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)", document.read_text(encoding="utf-8"))
    missing = [link for link in links if "://" not in link and not (document.parent / link).exists()]
    assert not missing, f"{document.name} links to files that do not exist"
