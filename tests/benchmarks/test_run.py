"""Small runs on a real server: ours, and the one rival that the development environment has (arq)."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import crash, noisy_rivals, peers, verbs
from benchmarks.peers import OURS, Peer
from benchmarks.plan import Plan
from benchmarks.processes import ROOT
from benchmarks.server import flush, fresh_server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]
ARQ = Peer("arq")


@pytest.fixture
def arq_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """arq in this environment instead of one of its own."""
    here = Path(sys.executable).parents[1]
    monkeypatch.setattr(peers, "environment", lambda name: here)


def test_a_run_prints_what_the_report_reads() -> None:
    command = ["speed", "sleep", "large", "calls", "--count", "200", "--rounds", "2", "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", *command],
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    said: Any = json.loads(done.stdout)
    assert list(said["scenarios"]) == ["speed", "sleep", "large", "calls"]
    ours = said["scenarios"]["speed"]["ours, 100"]
    assert ours.keys() >= {"per_s", "worker_us", "server_us", "bulk_per_s", "one_by_one_per_s"}
    assert all(spread["least"] <= spread["median"] <= spread["most"] for spread in ours.values())
    assert ours["per_s"]["rounds"] == 2
    assert said["cut"] == ""
    assert said["failed"] == {}


@pytest.mark.usefixtures("arq_here")
def test_a_rivals_results_are_stored_when_its_clock_stops() -> None:
    import redis

    with fresh_server() as server:
        row = ARQ.run("drain", url=server.url, count=150, kind="sleep", within_s=30)
        assert row.keys() == {"bulk_per_s", "per_s", "worker_us"}
        with redis.Redis.from_url(server.url) as client:
            assert sum(1 for _ in client.scan_iter("arq:result:*", count=1000)) == 150
        flush(server.url)
        worker = ARQ.start("work", url=server.url)
        try:
            worker.line()
            worker.go()
            worker.line()
            assert ARQ.run("call", url=server.url, count=5, within_s=10)["calls"] == 5
        finally:
            worker.end()


@pytest.mark.usefixtures("arq_here")
def test_a_noisy_neighbour_in_one_queue_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(noisy_rivals, "BACKLOG", 300)
    monkeypatch.setattr(noisy_rivals, "TENANTS", 3)
    with fresh_server() as server:
        row = noisy_rivals.measure(Plan(server.url, ["arq"]), ARQ, ranked=False)
    assert row["wait_p50_ms"] > 500 * row["drain_s"]  # half of the backlog and more is before them


@pytest.mark.usefixtures("arq_here")
def test_what_a_killed_worker_held_runs_again_or_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crash, "ACTIONS", 20)
    plan = Plan("", ["arq"], give_up_s=6)
    rows = crash.step(plan)
    assert plan.failures == {}
    assert rows["ours, 100"]["again"] == 0  # its lease is longer than 6 s
    assert rows["ours, 100"]["tuned_again"] == 20
    assert 1 < rows["ours, 100"]["tuned_all_s"] < 6
    assert rows["arq"] == {"again": 0, "gave_up_s": 6, "tuned_again": 0, "tuned_gave_up_s": 6}


def test_ours_is_a_peer_too() -> None:
    with fresh_server() as server:
        order: dict[str, Any] = {"url": server.url, "count": 120, "tenants": 10, "kind": "large"}
        assert OURS.run("enqueue", **order)["bulk_per_s"] > 0
        assert OURS.run("drain", **order)["per_s"] > 0


def test_the_servers_side_of_full_calls_and_of_lone_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verbs, "CALLS", 2)
    monkeypatch.setattr(verbs, "LONE_CALLS", 20)
    monkeypatch.setattr(verbs, "STORED", 1_000)
    with fresh_server() as server:
        rows = asyncio.run(verbs.main(server.url))
    assert rows.keys() > {"enqueue", "claim", "extend", "release", "finish", "cancel", "promote", "reclaim"}
    for name in ("enqueue", "claim", "finish"):
        assert rows[name]["alone_commands_per_action"] > rows[name]["commands_per_action"] > 0
        assert rows[name]["alone_us_per_action"] > 0
    assert "alone_us_per_action" not in rows["cancel"]
