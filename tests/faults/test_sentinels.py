"""Sentinels choose another primary: work goes on there, and no worker is taken for a dead one."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from nooble_tasks.embedded import EmbeddedServer
from tests.faults.crew import Crew
from tests.faults.doses import dose
from tests.faults.ledger import Ledger
from tests.faults.sentinels import Installation

FAILOVERS = dose(1, 20)
"""The first is killed, the next steps down in turn. (One that steps down takes writes for 8 more seconds.)"""

RESUMES_WITHIN_S = 10.0
LEASES = 3
REPLICATED: dict[str, Any] = {"durability": "replicated", "replication_timeout_s": 1.0}


@pytest.fixture
async def installation(redis_server: EmbeddedServer, tmp_path: Path) -> AsyncIterator[Installation]:
    async with Installation(redis_server.binary.path, tmp_path) as installation:
        yield installation


async def test_the_primary_changes(installation: Installation, chance: random.Random) -> None:
    """Killed or stepping down in turn. Work goes on within 10 s of the new one's first write, and what takes
    longer than some leases then runs once: heartbeats found the new primary, too."""
    with Crew(installation.url, lease_s=1.0) as crew:
        for _ in range(3):
            crew.hire(concurrency=10)
        earlier: list[str] = []
        for failover in range(FAILOVERS):
            primary = await installation.primary()
            async with Ledger.opened(
                installation.url, installation.direct_url(primary), **REPLICATED
            ) as before:
                await before.send(chance.randint(20, 100), takes_s=0.01)
                await before.until_ended(10)
                if failover % 2:
                    await installation.step_down()
                else:
                    installation.kill(primary)
                successor = await installation.until_another(primary)
            async with Ledger.opened(installation.url, installation.direct_url(successor)) as after:
                async with asyncio.timeout(RESUMES_WITHIN_S):
                    await after.send(1)
                    assert after.accepted, "the new primary was there, and the client did not find it"
                    await after.until_ended()
                after.accepted += before.accepted
                after.unsure += before.unsure + earlier
                await after.until_ended()
                after.check_outcomes()
                await after.put_runs_away()
            async with Ledger.opened(installation.url, installation.direct_url(successor)) as calm:
                await calm.send(20, takes_s=1.0 * LEASES)
                await calm.until_ended()
                await calm.check_runs(extra_runs=0)
            earlier = [*after.accepted, *after.unsure, *calm.accepted]
            if failover + 1 < FAILOVERS:
                installation.start(primary)
                await installation.until_followed(successor, by=2)
