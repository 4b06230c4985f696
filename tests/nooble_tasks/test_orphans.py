"""What a dead process held is taken back, of this machine's processes alone."""

from __future__ import annotations

import pytest

from nooble_tasks import BaseRedisClient, orphans
from tests.nooble_tasks.support import DOMAIN, action


async def test_another_machine_of_the_same_name_has_a_process_of_the_same_pid(
    client: BaseRedisClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As containers in the host's network do: what the other's living worker holds stays its own."""
    engine, pid = client.bus.engine, 7
    here = f"probe.{orphans.host_and_pid(pid)}.a1"
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(orphans, "_pids_of", lambda: "-000000")
        there = f"probe.{orphans.host_and_pid(pid)}.a2"
    await client.enqueue_actions([action(), action()])
    for worker in (here, there):
        await engine.extend(DOMAIN, worker, register=True)
        assert len((await engine.claim(DOMAIN, worker, 1)).actions) == 1
    assert await orphans.take_back_from_process(engine, pid) == 1
    assert (await engine.extend(DOMAIN, there)).held
    assert not (await engine.extend(DOMAIN, here)).held
