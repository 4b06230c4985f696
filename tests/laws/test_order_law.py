"""Order law: first attempts of one tenant and tier start in enqueue order; retried and reclaimed ones are
next in line, not behind the backlog. Also when the server's clock, which makes the entry ids, is set back.
"""

from __future__ import annotations

import pytest

from scheduler import Outcome
from tests.laws.conftest import Prepare
from tests.laws.mutation import mutated
from tests.scheduler.world import some

LEASE_MS = 15_000


async def test_what_comes_back_is_next_in_the_order_it_was_sent(prepare: Prepare) -> None:
    """One retried, one released, one whose worker died: before the backlog, and among themselves in order."""
    world = await prepare()
    await world.worker("dying")
    await world.enqueue(*some(12, "a", "t"))
    (first,) = (await world.claim("dying", 1)).actions
    second, third, fourth = (await world.claim("w1", 3)).actions
    world.clock.advance(LEASE_MS + 1)
    await world.worker("w1")
    assert await world.engine.reclaim(world.domain) == (1, 1)
    await world.finish(fourth, outcome=Outcome.RETRY)
    await world.finish(third, outcome=Outcome.SNOOZED)
    await world.engine.release(world.domain, "w1", [second])
    assert await world.claim_ids(slots=12) == [f"a-{n}" for n in range(12)]
    assert first.action_id == "a-0"


async def test_a_delayed_retry_is_next_when_it_is_due(prepare: Prepare) -> None:
    world = await prepare()
    await world.enqueue(*some(9, "a", "t"))
    one, two = (await world.claim(slots=2)).actions
    await world.finish(two, outcome=Outcome.RETRY, due_ms=world.now + 500)
    await world.finish(one, outcome=Outcome.RETRY, due_ms=world.now + 1_000)
    assert await world.claim_ids(slots=1) == ["a-2"]
    world.clock.advance(500)
    assert await world.claim_ids(slots=2) == ["a-1", "a-3"]
    world.clock.advance(500)
    assert await world.claim_ids(slots=9) == ["a-0", *(f"a-{n}" for n in range(4, 9))]


async def test_the_servers_clock_steps_back_and_the_order_stays(prepare: Prepare) -> None:
    """Entry ids are the server's clock. A stream never numbers backwards: the last id goes on counting.

    What the server does after such a step is what it does when the stream's last id lies ahead of its clock.
    """
    world = await prepare()
    await world.enqueue(*some(3, "a", "t"))
    (first, *_) = (await world.claim(slots=2)).actions
    info = await world.redis.xinfo_stream(world.stream("a", "t"))
    ms, _ = info["last-generated-id"].split(b"-")
    await world.redis.execute_command("XSETID", world.stream("a", "t"), b"%d-0" % (int(ms) + 7_200_000))
    more = [one._replace(action_id=f"later-{n}") for n, one in enumerate(some(3, "a", "t"))]
    await world.enqueue(*more)
    await world.finish(first, outcome=Outcome.RETRY)
    assert await world.claim_ids(slots=9) == ["a-0", "a-2", "later-0", "later-1", "later-2"]


async def test_a_drained_stream_starts_anew(prepare: Prepare) -> None:
    """It was deleted, so after a step back its ids are smaller than before; nothing is left to confuse."""
    world = await prepare()
    await world.enqueue(*some(3, "a", "t"))
    await world.redis.execute_command("XSETID", world.stream("a", "t"), "9000000000000-0")
    await world.enqueue(*(one._replace(action_id=f"far-{n}") for n, one in enumerate(some(2, "a", "t"))))
    await world.finish(*(await world.claim(slots=5)).actions)
    assert not await world.redis.exists(world.stream("a", "t"))
    await world.enqueue(*(one._replace(action_id=f"anew-{n}") for n, one in enumerate(some(3, "a", "t"))))
    (first,) = (await world.claim(slots=1)).actions
    await world.finish(first, outcome=Outcome.RETRY)
    assert await world.claim_ids(slots=5) == ["anew-0", "anew-1", "anew-2"]


async def test_retries_that_go_behind_the_backlog_are_found_out(prepare: Prepare) -> None:
    """The script reads new entries before those given back."""
    sound, unsound = "if candidate.returned > 0 then", "if candidate.returned > 99 then"
    with mutated("claim", sound, unsound), pytest.raises(AssertionError):
        await test_what_comes_back_is_next_in_the_order_it_was_sent(prepare)
