"""`nooble workers`: the list, and telling them."""

from __future__ import annotations

import json

import pytest
from redis.asyncio import Redis

from nooble_tasks import BaseRedisClient
from tests.nooble_tasks.looking import Nooble
from tests.nooble_tasks.support import ProbeService, action, soon, working


@pytest.mark.parametrize("columns", [80, 120])
async def test_the_list_fits(
    redis: Redis, client: BaseRedisClient, probe: ProbeService, nooble: Nooble, columns: int
) -> None:
    async with working(redis, probe) as worker:
        await client.enqueue_action(action("wait"))
        await probe.next_started()
        done = await nooble("workers", columns=columns)
        assert done.code == 0
        assert max(map(len, done.out.splitlines())) <= columns
        assert worker.worker_id in done.out.replace("\n", "")
        assert "probe.wait of acme" in done.text
        said = json.loads((await nooble("workers", "list", "--json")).out)["workers"]
        assert (said[0]["worker_id"], said[0]["owned"], said[0]["state"]) == (worker.worker_id, 1, "running")
        probe.gate.set()


async def test_nobody_works(nooble: Nooble) -> None:
    assert "No worker is registered" in (await nooble("workers", "list")).text


async def test_telling_one_and_all(redis: Redis, probe: ProbeService, nooble: Nooble) -> None:
    async with working(redis, probe) as worker:
        done = await nooble("workers", "quiet", "--worker", worker.worker_id, "--why", "a look")
        assert (done.code, worker.worker_id in done.out) == (0, True)
        asked = await nooble("workers", "stop", "--all")
        assert (asked.code, "say --yes" in asked.err) == (2, True)
        stopped = await nooble("workers", "stop", "--all", "--yes", "--json")
        assert json.loads(stopped.out) == {"told": [worker.worker_id], "message": "stop"}
        await soon(worker._ended.wait())
    operations = (await nooble("operations")).text
    assert "quiet worker" in operations


async def test_whom_must_be_said(redis: Redis, nooble: Nooble) -> None:
    done = await nooble("workers", "drain")
    assert (done.code, "whom?" in done.err) == (2, True)
    unknown = await nooble("workers", "stop", "--worker", "nobody")
    assert (unknown.code, "no worker 'nobody' is registered" in unknown.err) == (1, True)
