"""`nooble up` as a process: Ctrl-C, kill -9, and nothing left behind."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from nooble_tasks import BaseRedisClient, CommonAppSettings, RedisManager
from nooble_tasks.embedded import project_of, running_server_url
from tests.e2e.processes import Running, alive, run, running, until, wait_until
from tests.e2e.shop import GATE, RUNS

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


@pytest.mark.faults
async def test_what_a_killed_worker_held_starts_again_long_before_its_lease_ends(
    tmp_path: Path, redis_url: str
) -> None:
    """The parent sees the death, so nobody waits for the lease: a minute, twice as long as patience."""
    worker = f"{sys.executable} -m nooble_tasks.cli worker tests.e2e.shop:ShopService"
    (tmp_path / "Procfile").write_text(f"one: {worker}\ntwo: {worker}\n")
    environment = {"NOOBLE_REDIS_URL": redis_url, "NOOBLE_DOMAIN_NAME": "shop", "NOOBLE_LEASE_S": "60"}
    settings = CommonAppSettings(service_name="customer_service", redis_url=redis_url)
    async with RedisManager(settings) as manager:
        redis: Any = manager.get_client()
        client = BaseRedisClient("customer_service", redis, settings)
        with running(tmp_path / "up.log", "up", settings=environment, cwd=tmp_path):
            handle = await client.enqueue_action("shop.order.wait", tenant_id="acme", tier="enterprise")

            async def runs() -> list[dict[str, int]]:
                return [json.loads(line) for line in await redis.lrange(RUNS, 0, -1)]

            async def started() -> bool:
                return bool(await runs())

            async def started_again() -> bool:
                return len(await runs()) == 2

            await until(started, "an attempt runs")
            os.kill((await runs())[0]["pid"], signal.SIGKILL)
            await until(started_again, "another worker runs it")
            await redis.set(GATE, 1)
            assert await handle.result(10) == 2
        await client.close()
