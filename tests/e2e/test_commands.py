"""The commands as a user types them: what they print, where, and how they end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.e2e.processes import ROOT, run, running, wait_until
from tests.nooble_tasks.redis_servers import server

COMMANDS = [
    "up",
    "worker",
    "scheduler",
    "enqueue",
    "call",
    "status",
    "why",
    "tenants",
    "tiers",
    "limits",
    "operations",
    "policy",
    "demo",
    "version",
]


def on(url: str) -> dict[str, str]:
    """Settings that name the server."""
    return {"NOOBLE_REDIS_URL": url}


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example(command: str) -> None:
    done = run(command, "--help")
    assert done.returncode == 0
    assert f"nooble {command}" in done.stdout
    assert "Exit codes" in done.stdout
    assert "\x1b" not in done.stdout


def test_the_list_of_commands() -> None:
    done = run("--help")
    assert done.returncode == 0
    assert all(command in done.stdout for command in COMMANDS)


def test_version_for_machines() -> None:
    done = run("version", "--json")
    assert set(json.loads(done.stdout)) >= {"nooble-tasks", "python", "redis-py"}


def test_enqueue_prints_the_id_and_status_counts_it(redis_url: str) -> None:
    done = run("enqueue", "shop.order", "--tenant", "acme", "--data", '{"n": 1}', settings=on(redis_url))
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    status = run("status", "shop", "--json", settings=on(redis_url))
    assert status.returncode == 0, status.stderr
    assert "shop" in status.stdout
    json.loads(status.stdout)


@pytest.mark.parametrize("source", ["file", "stdin"])
def test_data_from_a_file_or_the_standard_input(redis_url: str, tmp_path: Path, source: str) -> None:
    (tmp_path / "data.json").write_text('{"n": 2}')
    data = "-" if source == "stdin" else f"@{tmp_path / 'data.json'}"
    done = run(
        "enqueue", "shop.order", "--tenant", "acme", "--data", data, settings=on(redis_url), stdin='{"n": 2}'
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["shop.order", "--tenant", "a:b"], "tenant_id"),
        (["Shop", "--tenant", "acme"], "action_type"),
        (["shop.order", "--tenant", "acme", "--tier", "fre"], "did you mean 'free'"),
        (["shop.order", "--tenant", "acme", "--data", "{"], "JSON"),
        (["shop.order", "--tenant", "acme", "--delay", "-1"], "delay"),
    ],
)
def test_what_cannot_be_right_is_told_in_a_line(redis_url: str, arguments: list[str], told: str) -> None:
    done = run("enqueue", *arguments, settings=on(redis_url))
    assert done.returncode in (1, 2)
    assert told in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


def test_a_call_that_nobody_answers(redis_url: str) -> None:
    done = run("call", "shop.order", "--tenant", "acme", "--timeout", "0.2", settings=on(redis_url))
    assert done.returncode == 1
    assert "no answer" in done.stderr
    assert not done.stdout


def test_without_a_server_it_says_what_to_do(tmp_path: Path) -> None:
    settings = {"XDG_STATE_HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    done = run("status", cwd=tmp_path, settings=settings)
    assert done.returncode == 1
    assert "nooble up" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_server_that_does_not_answer() -> None:
    done = run("status", settings=on("redis://:secret@127.0.0.1:1/0"))
    assert done.returncode == 1
    assert "does not answer" in " ".join(done.stderr.split())
    assert "secret" not in done.stderr


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ("no_such_module", "no module"),
        ("services.embedding:Embeding", "no 'Embeding'"),
        ("json", "no subclass of BaseService"),
    ],
)
def test_a_wrong_target(redis_url: str, target: str, told: str) -> None:
    done = run("worker", target, settings=on(redis_url))
    assert done.returncode == 1
    assert told in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


@pytest.mark.faults
def test_who_watches_goes_on_while_the_server_is_away(tmp_path: Path) -> None:
    path, log = tmp_path / "redis.sock", tmp_path / "1.log"
    arguments = ("status", "--watch", "--every", "0.2")
    with ExitStack() as stack:
        with server("--unixsocket", str(path)):
            watching = stack.enter_context(running(log, *arguments, settings=on(f"unix://{path}")))
            wait_until(lambda: "No domain" in watching.output, "it looks")
        wait_until(lambda: "does not answer" in watching.output, "it says so")
        told = watching.output.count("No domain")
        with server("--unixsocket", str(path)):
            wait_until(lambda: watching.output.count("No domain") > told, "it looks again")
            watching.send(signal.SIGINT)
            assert watching.wait() == 130
    assert "Traceback" not in watching.output


@pytest.mark.parametrize("arguments", [["tenant"], ["tenants", "--help"], ["version"], ["version", "--json"]])
def test_who_reads_no_further_is_no_failure(arguments: list[str]) -> None:
    """`nooble tenant | head -1`."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "nooble_tasks.cli", *arguments],
            cwd=ROOT,
            stdout=writing,
            stderr=subprocess.PIPE,
            timeout=60,
            check=False,
        )
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (0, b"")
