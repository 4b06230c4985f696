"""Each state of a server that answers with an error, at each call of a worker and of a client."""

from __future__ import annotations

import asyncio

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
}
CALLS_OF_A_WORKER = 30
CALLS_OF_A_CLIENT = 6
IN_A_ROW = 3


def reply(error: str) -> bytes:
    return f"-{error} {ERRORS[error]}\r\n".encode()


def may_be_answered(call: Call) -> bool:
    """Greetings of a connection are not what these tests are about: a worker that cannot start says so."""
    return call.words[0] not in ("CLIENT", "SELECT", "HELLO", "AUTH")


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("number", some_of(list(range(4, CALLS_OF_A_WORKER + 1)), 2))
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


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("number", range(1, dose(3, CALLS_OF_A_CLIENT)))
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
