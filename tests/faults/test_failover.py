"""The master is lost while its replica could not hear it: what was confirmed is on the replica."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from typing import Any
from urllib.parse import urlparse

import pytest

from nooble_tasks.embedded import EmbeddedServer
from tests.faults.crew import Crew
from tests.faults.doses import SEED, dose
from tests.faults.ledger import Ledger
from tests.faults.wire import Wire

FAILOVERS = dose(1, 20)
CONCURRENCY = 10
REPLICATED: dict[str, Any] = {"durability": "replicated", "replication_timeout_s": dose(300, 1_000) / 1_000}


@pytest.mark.parametrize("failover", range(FAILOVERS))
async def test_what_was_confirmed_survives_a_master_whose_replica_was_cut_off(
    redis_server: EmbeddedServer, failover: int
) -> None:
    """`durability="replicated"`: everything whose enqueue returned ends once on the replica; of the rest
    each caller was told."""
    chance = random.Random(SEED + failover)
    options = {"repl-diskless-sync-delay": "0"}
    binary = redis_server.binary.path
    with (
        EmbeddedServer(persist=False, binary=binary, port=0, options=options) as master,
        EmbeddedServer(persist=False, binary=binary, port=0) as replica,
    ):
        address = urlparse(master.url)
        assert address.port is not None
        async with Wire(address.port) as wire, Ledger.opened(replica.url) as after:
            await after.redis.config_set("masterauth", address.password)
            await after.redis.replicaof("127.0.0.1", str(wire.port))
            with Crew(master.url) as crew:
                async with Ledger.opened(master.url, **REPLICATED) as before:
                    await until_confirmed(before)
                    crew.hire(concurrency=CONCURRENCY)
                    for _ in range(chance.randint(3, 10)):
                        await before.send(20, takes_s=0.005)
                    assert not before.unsure
                    wire.dead = True
                    await before.send(20, takes_s=0.005)
                    assert len(before.unsure) == 20, "confirmed by a replica that did not hear of it"
                    os.kill(master.pid, signal.SIGKILL)
            await after.redis.replicaof("NO", "ONE")
            after.accepted, after.unsure = before.accepted, before.unsure
            with Crew(replica.url) as crew:
                crew.hire(concurrency=CONCURRENCY)
                await after.check(extra_runs=None)


async def until_confirmed(ledger: Ledger) -> None:
    """Until the replica follows."""
    async with asyncio.timeout(30):
        while (await ledger.redis.info("replication")).get("slave0", {}).get("state") != "online":  # noqa: ASYNC110
            await asyncio.sleep(0.02)
