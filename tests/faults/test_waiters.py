"""Callers who stop waiting, and answers that nobody reads."""

from __future__ import annotations

import asyncio
import random

from nooble_tasks import ActionTimeout, DomainAction
from tests.faults.crew import Crew
from tests.faults.doses import dose
from tests.faults.ledger import Ledger
from tests.faults.memory import until_expired, used_memory
from tests.faults.workshop import DOMAIN

CANCELLED, ABANDONED = dose(300, 10_000), dose(2_000, 100_000)


def work(number: int, **data: float) -> DomainAction:
    return DomainAction(
        action_type=f"{DOMAIN}.work",
        tenant_id=f"tenant-{number % 10}",
        tenant_tier="open",
        data={"number": number, **data},
    )


async def test_cancelled_waiters_disturb_nobody(ledger: Ledger, crew: Crew, chance: random.Random) -> None:
    """Cancelled at any moment; everybody else gets his own answer, and no connection is spoilt."""
    crew.hire()

    async def ask(number: int) -> int:
        response = await ledger.client.request(work(number, takes_s=0.002), 60)
        return int(response.data["number"])

    for start in range(0, CANCELLED, 100):
        waiting = [asyncio.create_task(ask(number)) for number in range(start, start + 100)]
        for task in chance.sample(waiting, 50):
            for _ in range(chance.randint(0, 5)):
                await asyncio.sleep(0)
            task.cancel()
        answers = await asyncio.gather(*waiting, return_exceptions=True)
        for number, answer in enumerate(answers, start):
            assert isinstance(answer, asyncio.CancelledError) or answer == number
    assert await ask(-1) == -1


async def test_callers_out_of_time_are_told_so_and_leave_nothing(ledger: Ledger) -> None:
    """Nobody works here: every caller meets its own deadline, and the actions expire unrun."""
    answers = await asyncio.gather(
        *(ledger.client.request(work(number), 0.3) for number in range(200)), return_exceptions=True
    )
    assert {type(answer) for answer in answers} == {ActionTimeout}
    assert not any(ledger.client.bus.replies._waiting.values())


async def test_abandoned_answers_go_by_themselves(redis_url: str, crew: Crew) -> None:
    """Nobody ever reads them: memory is back at its baseline when their time is over."""
    async with Ledger.opened(redis_url) as ledger:
        await ledger.send(200)
        crew.hire(result_ttl_s=2.0, dedupe_window_s=1.0)
        await ledger.until_ended()
        await until_expired(ledger)
        before = await used_memory(ledger)
        await ledger.send(ABANDONED)
        await ledger.until_ended()
        await until_expired(ledger)
        grown = await used_memory(ledger) - before
    assert grown < 3 * 2**20, f"{grown / 2**20:.1f} MB more than before"
