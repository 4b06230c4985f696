"""The network between workers and the server: cut, half open, slow, in pieces, deaf after execution."""

from __future__ import annotations

import asyncio
import random

from tests.faults.crew import Crew
from tests.faults.doses import dose
from tests.faults.ledger import Ledger
from tests.faults.proxy import PASS, Call, Proxy, Treatment

CUTS, ACTIONS = dose(10, 300), dose(1_000, 30_000)
CONCURRENCY = 10


async def test_cut_again_and_again(ledger: Ledger, crew: Crew, redis_url: str) -> None:
    """A cut may hide the answer to a claim; the worker finds that out and gives back, or runs it once."""
    async with Proxy(redis_url) as proxy:
        member = crew.hire(url=proxy.url, concurrency=CONCURRENCY)
        for _ in range(CUTS):
            await ledger.send(ACTIONS // CUTS, takes_s=0.002)
            await ledger.until_ended(len(ledger.accepted) - ACTIONS // CUTS // 2)
            proxy.cut()
        await ledger.check(extra_runs=CUTS * CONCURRENCY)
        assert member.is_alive()


async def test_replies_lost_after_execution(
    ledger: Ledger, crew: Crew, redis_url: str, chance: random.Random
) -> None:
    """The server did it and nobody heard: finished actions stay finished, claimed ones come back."""

    def decide(call: Call) -> Treatment:
        return Treatment(mute=True) if call.number > 20 and chance.random() < 0.1 else PASS

    async with Proxy(redis_url, decide) as proxy:
        member = crew.hire(url=proxy.url, concurrency=CONCURRENCY)
        await ledger.send(ACTIONS // 10, takes_s=0.002)
        await ledger.until_ended()
        proxy.decide = lambda call: PASS
        await ledger.check()
        assert member.is_alive()


async def test_half_open(ledger: Ledger, crew: Crew, redis_url: str) -> None:
    """Bytes vanish and no connection breaks: given up after the socket's timeout, then taken up again."""
    async with Proxy(redis_url) as proxy:
        member = crew.hire(url=proxy.url, concurrency=CONCURRENCY, redis_socket_timeout_s=0.5)
        await ledger.send(200, takes_s=0.002)
        await ledger.until_ended(50)
        proxy.swallow = True
        await ledger.send(200, takes_s=0.002)
        await asyncio.sleep(3.0)  # three leases of silence: the fault itself takes time
        proxy.swallow = False
        await ledger.check(extra_runs=2 * CONCURRENCY)
        assert member.is_alive()


async def test_slow_and_in_pieces(ledger: Ledger, crew: Crew, redis_url: str) -> None:
    async with Proxy(redis_url) as proxy:
        proxy.piece, proxy.delay_s = 97, 0.0005
        crew.hire(url=proxy.url, concurrency=CONCURRENCY)
        await ledger.send(dose(60, 2_000))
        await ledger.check(extra_runs=0)
