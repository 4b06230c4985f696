"""Entries that somebody else wrote into work streams: any bytes, any fields, any number."""

from __future__ import annotations

import random
from typing import Any

import psutil

from nooble_tasks._engine import NewAction, inspection
from tests.faults.crew import Crew, pid_of
from tests.faults.doses import dose
from tests.faults.ledger import Ledger
from tests.faults.workshop import DOMAIN

ENTRIES = dose(300, 10_000)
LARGE_MB = dose(8, 64)
WORDS = [
    b"v1",
    b"-",
    b"*",
    b"0",
    b"9" * 30,
    b"-1",
    b"workshop.work",
    b"tenant-1",
    b"\xff\xfe",
    b"\x00",
    b"a b",
    b"{}",
]


def any_bytes(chance: random.Random) -> bytes:
    return chance.choice([chance.randbytes(chance.randint(0, 60)), chance.choice(WORDS), b"x" * 3_000])


def fields(chance: random.Random) -> dict[bytes, bytes]:
    """Nothing like an action, or nearly one."""
    match chance.randint(0, 3):
        case 0:
            return {any_bytes(chance) or b"f": any_bytes(chance) for _ in range(chance.randint(1, 4))}
        case 1:
            return {b"data": any_bytes(chance)}
        case 2:
            head = b" ".join(chance.choice(WORDS) for _ in range(chance.randint(1, 8)))
            return {b"head": head, b"data": any_bytes(chance)}
        case _:
            number = str(chance.getrandbits(64)).encode()
            return {b"head": b"v1 %s 0 workshop.work 1 - -" % number, b"data": any_bytes(chance)}


async def test_garbage_goes_to_the_dead_letters_and_stops_nobody(
    ledger: Ledger, crew: Crew, chance: random.Random
) -> None:
    """Entries beside real ones: the real ones are run, the worker lives, nothing stays behind."""
    member = crew.hire()
    sent = 0
    while sent < ENTRIES:
        await ledger.send(20)
        pipeline = ledger.redis.pipeline(transaction=False)
        for _ in range(100):
            pipeline.xadd(f"{DOMAIN}:tenant-{chance.randint(0, 9)}:open", fields(chance))
        await pipeline.execute()
        sent += 100
        await ledger.send(20)
    await ledger.until_ended()
    ledger.outcomes = type(ledger.outcomes)(
        {key: times for key, times in ledger.outcomes.items() if key[0] in set(ledger.accepted)}
    )
    ledger.check_outcomes()
    assert member.is_alive()
    dead = sum(row.dead for row in (await inspection.domain_counts(ledger.client.bus.engine, DOMAIN)).tiers)
    assert dead > 0


async def test_payloads_that_are_no_actions_are_answered_and_buried(
    ledger: Ledger, crew: Crew, chance: random.Random
) -> None:
    """Well-formed headers, any payload: what cannot be read is dead, and whoever waits is told."""
    member = crew.hire()
    engine: Any = ledger.client.bus.engine
    made = [
        NewAction(f"fuzz-{n}", "workshop.work", f"tenant-{n % 10}", "open", any_bytes(chance), reply_to="*")
        for n in range(ENTRIES)
    ]
    for start in range(0, ENTRIES, 500):
        await engine.enqueue(DOMAIN, made[start : start + 500])
    ledger.accepted = [action.action_id for action in made]
    await ledger.until_ended()
    ledger.check_outcomes(completed_only=False)
    await ledger.check_responses()
    await ledger.check_nothing_is_left()
    assert member.is_alive()


async def test_a_payload_far_too_large_is_answered_and_buried(ledger: Ledger, crew: Crew) -> None:
    """No client sends it; the worker that meets it refuses it, in little more memory than it takes."""
    member = crew.hire()
    await ledger.send(1)
    await ledger.until_ended()
    worker = psutil.Process(pid_of(member))
    before = worker.memory_info().rss
    data = b'{"data":"' + b"x" * (LARGE_MB * 2**20) + b'"}'
    engine: Any = ledger.client.bus.engine
    await engine.enqueue(
        DOMAIN, [NewAction("large", "workshop.work", "tenant-1", "open", data, reply_to="*")]
    )
    ledger.accepted.append("large")
    await ledger.send(20)
    await ledger.until_ended()
    ledger.check_outcomes(completed_only=False)
    assert ledger.outcomes["large", "dead"] == 1
    await ledger.check_responses()
    assert worker.memory_info().rss - before <= 3 * len(data) + 10 * 2**20
