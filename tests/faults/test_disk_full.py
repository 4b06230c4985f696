"""The disk of the server is full: it refuses every write until there is room again."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from nooble_tasks.embedded import EmbeddedServer
from tests.faults.crew import Crew
from tests.faults.doses import dose
from tests.faults.ledger import Ledger
from tests.faults.test_server_death import until_they_run_on

LASTS_S = dose(2, 60)
AGAIN_AT_WORK_S = 10.0
"""Promised: so long after there is room again, work that waited starts."""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits the files of another process")


@pytest.fixture
def server(redis_server: EmbeddedServer, tmp_path: Path) -> Iterator[EmbeddedServer]:
    """Its files can be limited: then writes end early with an error, as on a full disk, and no signal."""
    program = tmp_path / "server"
    program.write_text(f"#!/bin/sh\ntrap '' XFSZ\nexec {redis_server.binary.path} \"$@\"\n")
    program.chmod(0o755)
    with EmbeddedServer(persist=False, binary=program, options={"appendfsync": "everysec"}) as server:
        yield server


def leave_room(server: EmbeddedServer, bytes_left: int | None) -> None:
    """So much more may be written to the append-only file (None: any)."""
    most = resource.RLIM_INFINITY
    if bytes_left is not None:
        folder = server.data_folder
        files = [*folder.glob("appendonlydir/*.incr.aof"), *folder.glob("appendonly.aof")]
        most = max(each.stat().st_size for each in files) + bytes_left
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY))


async def test_a_full_disk_is_waited_for(server: EmbeddedServer) -> None:
    """Callers get a typed error, workers live and go on by themselves, what was accepted is run; and the
    file is whole."""
    with Crew(server.url) as crew:
        async with Ledger.opened(server.url) as ledger:
            for _ in range(2):
                crew.hire(concurrency=10)
            await ledger.send(200, takes_s=0.005)
            await ledger.until_ended(50)
            leave_room(server, 20_000)
            async with asyncio.timeout(LASTS_S + 30):
                while not ledger.unsure:
                    await ledger.send(20, takes_s=0.005)
            await asyncio.sleep(LASTS_S)  # the fault itself takes time
            await ledger.send(1)
            assert len(ledger.unsure) == 21, "a write was accepted on a full disk"
            leave_room(server, None)
            async with asyncio.timeout(AGAIN_AT_WORK_S):
                await until_they_run_on(ledger)
            await ledger.check(extra_runs=None)
            assert all(member.is_alive() for member in crew.members)
            os.kill(server.pid, signal.SIGKILL)
            await asyncio.to_thread(server.wait, 30)
            await asyncio.to_thread(server.start)
            await ledger.check(extra_runs=None)
