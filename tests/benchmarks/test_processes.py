"""Processes of a run are bounded and leave nothing behind."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from benchmarks.peers import ALL, RIVALS, missing
from benchmarks.processes import ROOT, RoleFailedError, role

SILENT = "import time; print('ready', flush=True); time.sleep(600)"


def _python(code: str) -> list[object]:
    return [sys.executable, "-c", code]


def test_a_silent_process_is_not_waited_for_for_ever() -> None:
    with role(_python(SILENT)) as process:
        assert process.line() == "ready\n"
        with pytest.raises(RoleFailedError, match="said nothing"):
            process.line(0.05)


def test_the_reason_of_a_failure_is_told() -> None:
    with (
        role(_python("raise SystemExit('no server there')")) as process,
        pytest.raises(RoleFailedError, match="no server there"),
    ):
        process.row()


def test_words_beside_the_result_are_passed_over() -> None:
    with role(_python("print('hello'); print('{\"per_s\": 2.0}')")) as process:
        assert process.row() == {"per_s": 2.0}


def test_a_block_that_raises_ends_its_process_and_its_children(tmp_path: Path) -> None:
    pipe = tmp_path / "held by the child"
    os.mkfifo(pipe)
    child = f"import time; held = open({str(pipe)!r}, 'w'); time.sleep(600)"
    parent = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {child!r}]).wait()"
    with suppress(KeyboardInterrupt), role(_python(parent)):
        reader = pipe.open()  # once the child has opened it
        raise KeyboardInterrupt
    with reader:
        assert reader.read() == ""  # its end: nobody holds it any more


@pytest.mark.parametrize(
    ("module", "arguments"),
    [
        ("benchmarks.ours", ["work", '{"url": "unix:///nowhere"}']),
        ("benchmarks.noisy", ["send", "unix:///nowhere", "a", "t", "1", "1"]),
        ("benchmarks.rivals", ["none", "about", "{}"]),
    ],
)
def test_a_role_ends_with_the_run_that_started_it(module: str, arguments: list[str]) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=ROOT,
    )
    process.communicate(timeout=30)  # closes its standard input, as the end of a run does
    assert process.returncode in {1, 3}


def test_what_a_rival_needs_is_pinned_by_name_and_version() -> None:
    for name in ALL:
        lines = (RIVALS / f"requirements-{name}.txt").read_text(encoding="utf-8").splitlines()
        assert lines
        assert all(_is_pin(line) for line in lines), name


def _is_pin(line: str) -> bool:
    name, equals, version = line.partition("==")
    return bool(equals and name and version[:1].isdigit() and "://" not in line and " " not in line)


def test_a_rival_without_its_interpreter_is_skipped(monkeypatch: Any) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert "node" in missing("bullmq")
    assert missing("arq") == ""
    assert "arq" in missing("unknown")
