"""`nooble up` as a process: Ctrl-C, kill -9, and nothing left behind."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import psutil
import pytest

from nooble_tasks.embedded import project_of, running_server_url
from tests.e2e.processes import Running, alive, run, running, wait_until

SLEEPER = """
import os, subprocess, sys, time
grandchild = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
open(f"pids.{os.getpid()}", "w").write(f"{os.getpid()} {grandchild.pid}")
print("sleeping with", os.environ["NOOBLE_REDIS_URL"], flush=True)
time.sleep(600)
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with a Procfile of two processes, each with a child of its own."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "sleeper.py").write_text(SLEEPER)
    (folder / "Procfile").write_text(f"one: {sys.executable} sleeper.py\ntwo: {sys.executable} sleeper.py\n")
    return folder


def pids_of(project: Path) -> list[int]:
    return [int(pid) for file in project.glob("pids.*") for pid in file.read_text().split()]


def everything_of(up: Running, project: Path, processes: int = 2) -> list[int]:
    """The process ids of all that `up` started, once it has started everything."""
    wait_until(lambda: up.output.count("sleeping with") >= processes, f"all have started: {up.output}")
    return [*pids_of(project), *(child.pid for child in psutil.Process(up.pid).children(recursive=True))]


def test_ctrl_c_ends_everything(project: Path, tmp_path: Path) -> None:
    with running(tmp_path / "up.log", "up", cwd=project) as up:
        pids = everything_of(up, project)
        assert running_server_url(project_of(project))
        up.send(signal.SIGINT)
        assert up.wait() == 130
    assert "Traceback" not in up.output
    assert not [pid for pid in pids if alive(pid)]
    assert running_server_url(project_of(project)) is None


def test_sigterm_ends_everything_with_success(project: Path, tmp_path: Path) -> None:
    with running(tmp_path / "up.log", "up", "two", cwd=project) as up:
        pids = everything_of(up, project, processes=1)
        up.send(signal.SIGTERM)
        assert up.wait() == 0
    assert "two | sleeping" in up.output.replace("two    |", "two |")
    assert "one" not in [line.split(" ")[0] for line in up.output.splitlines()]
    assert not [pid for pid in pids if alive(pid)]


@pytest.mark.faults
def test_after_kill_9_nothing_is_left(project: Path, tmp_path: Path) -> None:
    with running(tmp_path / "up.log", "up", cwd=project) as up:
        pids = everything_of(up, project)
        assert len(pids) > 4
        up.send(signal.SIGKILL)
        up.wait()
        wait_until(lambda: not [pid for pid in pids if alive(pid)], "all have ended")
    assert running_server_url(project_of(project)) is None


def test_the_address_travels_by_environment_only(project: Path, tmp_path: Path, redis_url: str) -> None:
    with running(tmp_path / "up.log", "up", cwd=project, settings={"NOOBLE_REDIS_URL": redis_url}) as up:
        pids = everything_of(up, project)
        assert f"sleeping with {redis_url}" in up.output
        for pid in pids:
            assert redis_url not in " ".join(psutil.Process(pid).cmdline())
        assert running_server_url(project_of(project)) is None, "a configured server is used, none started"
        up.send(signal.SIGTERM)
        up.wait()


def test_port_gives_the_embedded_server_a_port(project: Path, tmp_path: Path) -> None:
    with running(tmp_path / "up.log", "up", "--port", "0", cwd=project) as up:
        everything_of(up, project)
        url = running_server_url(project_of(project))
        assert url is not None
        assert "127.0.0.1" in url
        password = url.partition("@")[0].rpartition(":")[2]
        assert password not in up.output.split("sleeping with")[0], "the announcement hides the password"
        found = run("status", "--json", cwd=project)
        assert json.loads(found.stdout)["domains"] == []
        up.send(signal.SIGTERM)
        up.wait()


def test_reload_restarts_on_a_change(project: Path, tmp_path: Path) -> None:
    with running(tmp_path / "up.log", "up", "one", "--reload", cwd=project) as up:
        wait_until(lambda: "sleeping with" in up.output, up.output)
        marker = project / "module.py"

        def changed_and_restarted() -> bool:
            marker.write_text(f"changed = {os.urandom(4)!r}\n")  # again: the watch may not have begun
            return up.output.count("sleeping with") >= 2

        wait_until(changed_and_restarted, f"a restart: {up.output}")
        assert "restarts with the changed code" in up.output
        up.send(signal.SIGTERM)
        up.wait()
