"""Reading a Procfile."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from nooble_tasks import ConfigurationError
from nooble_tasks.cli.procfile import read_procfile, spec_of, with_own_bin


def procfile(folder: Path, text: str) -> Path:
    path = folder / "Procfile"
    path.write_text(text)
    return path


def test_lines_comments_and_a_choice(tmp_path: Path) -> None:
    path = procfile(tmp_path, "# two\n\nweb: python app.py --port 1\nworker:   nooble worker shop\n")
    web, worker = read_procfile(path)
    assert (web.name, web.command) == ("web", ("python", "app.py", "--port", "1"))
    assert worker.command == (sys.executable, "-m", "nooble_tasks.cli", "worker", "shop")
    assert [spec.name for spec in read_procfile(path, ["worker"])] == ["worker"]


def test_assignments_come_before_the_program() -> None:
    spec = spec_of("w", "A=1 B='two words' nooble worker shop")
    assert spec.environment == {"A": "1", "B": "two words"}
    assert spec.command[:3] == (sys.executable, "-m", "nooble_tasks.cli")


@pytest.mark.parametrize("command", ["a | b", "a && b", "echo $HOME", "a > log", "ls *.py"])
def test_what_a_shell_understands_goes_to_a_shell(command: str) -> None:
    assert spec_of("s", command).command == ("/bin/sh", "-c", command)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "names no process"),
        ("nonsense\n", "line 1: 'nonsense' is not `name: command`"),
        ("a: x\na: y\n", "line 2: there are two processes named 'a'"),
        ("a: echo 'unfinished\n", "cannot be read"),
        ("a: B=1\n", "has no command"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read_procfile(procfile(tmp_path, text))
    assert said in str(caught.value)


def test_an_unknown_name_and_a_missing_file(tmp_path: Path) -> None:
    path = procfile(tmp_path, "ingestion: nooble worker services.ingestion\n")
    with pytest.raises(ConfigurationError, match="did you mean 'ingestion'"):
        read_procfile(path, ["ingestoin"])
    with pytest.raises(ConfigurationError, match="Next step"):
        read_procfile(tmp_path / "none")


def test_own_scripts_come_first_on_the_path() -> None:
    path = with_own_bin({"PATH": "/somewhere"})["PATH"].split(":")
    assert path == [str(Path(sys.executable).parent), "/somewhere"]
