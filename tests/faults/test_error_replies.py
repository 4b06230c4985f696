"""Each state of a server that answers with an error, at each call of a worker and of a client."""

from __future__ import annotations

import asyncio
from itertools import product

import pytest

from tests.faults.crew import Crew
from tests.faults.doses import dose, some_of
from tests.faults.ledger import Ledger
from tests.faults.proxy import PASS, Call, Proxy, Treatment

ERRORS = {
    "LOADING": "Redis is loading the dataset in memory",
    "BUSY": "Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
    "OOM": "command not allowed when used memory > 'maxmemory'.",
    "MISCONF": "Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.",
    "READONLY": "You can't write against a read only replica.",
    "NOSCRIPT": "No matching script. Please use EVAL.",
    "NOREPLICAS": "Not enough good replicas to write.",
    "CLUSTERDOWN": "The cluster is down",
    "MASTERDOWN": "Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
    "TRYAGAIN": "Multiple keys request during rehashing of slot",
    "NOGROUP": "No such key 'workshop:tenant-1:open' or consumer group 'workers'",
    "UNBLOCKED": "the stream key no longer exists",
    "NOPERM": "User default has no permissions to run the command",
    "WRONGTYPE": "Operation against a key holding the wrong kind of value",
}
CALLS_OF_A_WORKER = 30
CALLS_OF_A_CLIENT = 6
IN_A_ROW = 3
LASTS_S = dose(1, 5)
MOST_PER_S = 10
"""Attempts per connection while a server refuses everything."""


def reply(error: str) -> bytes:
    return f"-{error} {ERRORS[error]}\r\n".encode()


GREETINGS = ("CLIENT", "SELECT", "HELLO", "AUTH")


def may_be_answered(call: Call) -> bool:
    """Greetings of a connection are not what these tests are about: a worker that cannot start says so."""
    return call.words[0] not in GREETINGS


@pytest.mark.parametrize(
    ("error", "number"),
    some_of(list(product(ERRORS, range(4, CALLS_OF_A_WORKER + 1))), 7),
)
async def test_a_worker_meets_it(ledger: Ledger, crew: Crew, redis_url: str, number: int, error: str) -> None:
    """Three calls in a row are answered so; afterwards the worker goes on by itself, without a restart."""

    def decide(call: Call) -> Treatment:
        met = joined.is_set() and first <= call.number < first + IN_A_ROW and may_be_answered(call)
        return Treatment(answer=reply(error)) if met else PASS

    joined, first = asyncio.Event(), 0
    async with Proxy(redis_url, decide) as proxy:
        member = crew.hire(url=proxy.url, concurrency=3, lease_s=2)
        await ledger.send(1)
        await ledger.until_ended()
        first = len(proxy.calls) + number - 3
        joined.set()
        await ledger.send(8)
        await ledger.send(5, takes_s=0.01)
        await ledger.check(extra_runs=3 * IN_A_ROW)
        assert member.is_alive()


@pytest.mark.parametrize(
    ("error", "number"), some_of(list(product(ERRORS, range(1, CALLS_OF_A_CLIENT + 1))), 7)
)
async def test_a_client_meets_it(ledger: Ledger, crew: Crew, redis_url: str, number: int, error: str) -> None:
    """It raises a typed error (or gets over it: NOSCRIPT), and the next call works."""
    crew.hire(concurrency=3)
    async with Proxy(redis_url) as proxy, Ledger.opened(proxy.url, redis_url) as sender:
        await sender.send(1)
        first = len(proxy.calls) + number

        def decide(call: Call) -> Treatment:
            return Treatment(answer=reply(error)) if call.number == first else PASS

        proxy.decide = decide
        for _ in range(number):
            await sender.send(1)
        await sender.send(1)
        assert (len(sender.unsure) == 0) == (error == "NOSCRIPT")
        ledger.accepted, ledger.unsure = sender.accepted, sender.unsure
        await ledger.check(extra_runs=0)


@pytest.mark.parametrize("error", some_of(list(ERRORS), 2))
async def test_a_server_that_refuses_everything_is_not_hammered(
    ledger: Ledger, crew: Crew, redis_url: str, error: str
) -> None:
    """For a while every call is answered so. Work waits; the worker asks now and then, and goes on after."""
    async with Proxy(redis_url) as proxy:
        member = crew.hire(url=proxy.url, concurrency=3, lease_s=60)
        await ledger.send(1)
        await ledger.until_ended()
        connections, before = proxy.connections, len(proxy.calls)
        proxy.decide = lambda call: Treatment(answer=reply(error)) if may_be_answered(call) else PASS
        await ledger.send(20, takes_s=0.01)
        await asyncio.sleep(LASTS_S)  # the fault itself takes time
        asked = [words for words in proxy.calls[before:] if words[0] not in GREETINGS]
        proxy.decide = lambda call: PASS
        await ledger.check(extra_runs=3)
        assert member.is_alive()
    assert asked, "nobody asked at all"
    assert len(asked) <= MOST_PER_S * LASTS_S * connections, f"{len(asked)} on {connections} connections"
