"""The network between workers and the server: cut, half open, slow, in pieces, deaf after execution."""

from __future__ import annotations

import asyncio
import contextlib
import random

from nooble_tasks import DomainAction, QueueUnavailable
from tests.faults.crew import Crew
from tests.faults.doses import dose
from tests.faults.ledger import Ledger
from tests.faults.proxy import PASS, Call, Proxy, Treatment
from tests.faults.workshop import DOMAIN

CUTS, ACTIONS = dose(10, 300), dose(1_000, 30_000)
UNHEARD, UNHEARD_PERCENT = dose(100, 100_000), dose(10, 1)
EPISODES = dose(3, 100)
NOTICED_S = 10.0
"""Promised: so long after connections went dead without a word, work goes on over others."""
DONE_S = 5.0
"""And then it is done."""

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
    """The server did it and nobody heard: what was sent is one action, finished actions stay finished,
    claimed ones come back."""

    def decide(call: Call) -> Treatment:
        unheard = call.number > 20 and chance.randrange(100) < UNHEARD_PERCENT
        return Treatment(mute=True) if unheard else PASS

    async with Proxy(redis_url, decide) as proxy, Ledger.opened(proxy.url, redis_url) as sender:
        member = crew.hire(url=proxy.url, concurrency=CONCURRENCY)
        for _ in range(max(UNHEARD // 5_000, 1)):
            await sender.send(min(UNHEARD, 5_000), takes_s=0.002)
            ledger.accepted, ledger.unsure = sender.accepted, sender.unsure
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


async def test_some_connections_go_dead_without_a_word(
    ledger: Ledger, crew: Crew, redis_url: str, chance: random.Random
) -> None:
    """One in ten of those that worker and caller have, again and again: both notice, nothing is lost, and
    the caller has its answers."""
    async with Proxy(redis_url) as proxy, Ledger.opened(proxy.url, redis_url) as sender:
        member = crew.hire(url=proxy.url, concurrency=CONCURRENCY, redis_socket_timeout_s=1.0)
        for number in range(EPISODES):
            proxy.half_open(0.1, chance)
            await ledger.send(20, takes_s=0.002)
            async with asyncio.timeout(NOTICED_S + DONE_S):
                await ledger.until_ended()
                ledger.accepted.append(await answered(sender, number))
        await ledger.check(extra_runs=EPISODES * CONCURRENCY)
        assert member.is_alive()


async def answered(caller: Ledger, number: int) -> str:
    """Which action answered a caller, who asks again when the server does not answer."""
    action = DomainAction(
        action_type=f"{DOMAIN}.work", tenant_id="caller", tenant_tier="open", data={"number": number}
    )
    while True:
        with contextlib.suppress(QueueUnavailable):
            assert (await caller.client.request(action, 60)).data == {"number": number}
            return action.action_id


async def test_slow_and_in_pieces(ledger: Ledger, crew: Crew, redis_url: str) -> None:
    async with Proxy(redis_url) as proxy:
        proxy.piece, proxy.delay_s = 97, 0.0005
        crew.hire(url=proxy.url, concurrency=CONCURRENCY)
        await ledger.send(dose(60, 2_000))
        await ledger.check(extra_runs=0)
