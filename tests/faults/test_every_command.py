"""Each call to Redis of what a caller or an operator does breaks before, while and after the server gets it.

The error is typed; the same command again ends what the first one began. Nothing is lost, nothing is doubled.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from itertools import product

import pytest

from nooble_tasks import DomainAction, QueueUnavailable
from nooble_tasks._engine import ScheduleConflictError
from tests.faults.crew import Crew
from tests.faults.doses import some_of
from tests.faults.ledger import Ledger
from tests.faults.proxy import MOMENTS, PASS, Call, Proxy, Treatment, treatment_at
from tests.faults.workshop import DOMAIN, GATE, RUNS

MANY = 30
BACKLOG = 700
"""More than a move takes in one step."""


class Command:
    """What is done through a connection that breaks. ``calls``: how many it makes, at least."""

    calls: int

    async def prepare(self, ledger: Ledger, crew: Crew) -> None:
        """What must be there before."""

    async def give(self, sender: Ledger) -> None:
        """Once; if it raises, once more."""
        raise NotImplementedError

    async def check(self, ledger: Ledger, crew: Crew) -> None:
        """That it was done, once."""
        raise NotImplementedError


class Called(Command):
    """A request, and its answer."""

    calls = 20

    async def prepare(self, ledger: Ledger, crew: Crew) -> None:
        crew.hire(concurrency=3)
        self.action = DomainAction(
            action_type=f"{DOMAIN}.work", tenant_id="tenant-1", tenant_tier="open", data={"number": 42}
        )

    async def give(self, sender: Ledger) -> None:
        assert (await sender.client.request(self.action, 60)).data == {"number": 42}

    async def check(self, ledger: Ledger, crew: Crew) -> None:
        ledger.accepted.append(self.action.action_id)
        await ledger.check(extra_runs=0)


class Cancelled(Command):
    """Everything of a tier is cancelled while it waits."""

    calls = 10

    async def prepare(self, ledger: Ledger, crew: Crew) -> None:
        await ledger.send(MANY, tier="narrow")

    async def give(self, sender: Ledger) -> None:
        await sender.client.cancellations.many(domains=[DOMAIN], tier="narrow")

    async def check(self, ledger: Ledger, crew: Crew) -> None:
        crew.hire(concurrency=3)
        await ledger.send(1)
        await ledger.until_ended()
        ledger.check_outcomes(completed_only=False)
        await ledger.check_responses()
        await ledger.check_nothing_is_left()
        assert Counter(outcome for _, outcome in ledger.outcomes) == {"cancelled": MANY, "completed": 1}
        assert await ledger.redis.hlen(RUNS) == 1


class Redriven(Command):
    """Dead letters are put back in line."""

    calls = 20

    async def prepare(self, ledger: Ledger, crew: Crew) -> None:
        crew.hire(concurrency=3)
        await ledger.send(MANY, verb="refuse", tenants=2)
        await ledger.until_ended()
        await ledger.redis.set(GATE, 1)

    async def give(self, sender: Ledger) -> None:
        await sender.client.dead_letters.redrive(DOMAIN, everything=True)

    async def check(self, ledger: Ledger, crew: Crew) -> None:
        async with asyncio.timeout(60):
            while len(ledger.outcomes) < 2 * MANY:
                await ledger.follow()
                await asyncio.sleep(0.02)
        assert set(ledger.outcomes.values()) == {1}
        assert Counter(outcome for _, outcome in ledger.outcomes) == {"dead": MANY, "completed": MANY}
        await ledger.check_runs(MANY)
        await ledger.check_nothing_is_left()
        assert not sum((await ledger.client.dead_letters.count(DOMAIN)).values())


class Moved(Command):
    """A tenant goes to another tier with a long backlog."""

    calls = 40

    async def prepare(self, ledger: Ledger, crew: Crew) -> None:
        await ledger.send(BACKLOG, tenants=1)

    async def give(self, sender: Ledger) -> None:
        await sender.client.operator.move_tenant("tenant-0", "few", by="a test", domains=[DOMAIN])

    async def check(self, ledger: Ledger, crew: Crew) -> None:
        crew.hire(concurrency=20)
        await ledger.check(extra_runs=0)
        assert {each.tier for each in ledger.attempts} == {"few"}
        assert len(ledger.attempts) == BACKLOG


class Scheduled(Command):
    """A schedule is created."""

    calls = 14

    async def give(self, sender: Ledger) -> None:
        try:
            await sender.client.schedules.create(
                "beat", f"{DOMAIN}.work", every=3_600, tenant_id="tenant-1", data={"number": 1}
            )
        except ScheduleConflictError:
            pass  # the first time it got through, only the answer did not

    async def check(self, ledger: Ledger, crew: Crew) -> None:
        (listed,) = await ledger.client.schedules.list(DOMAIN)
        assert listed.next_due is not None
        assert await ledger.client.schedules.domains() == [DOMAIN]


COMMANDS: list[type[Command]] = [Called, Cancelled, Redriven, Moved, Scheduled]


def every_break() -> list[tuple[type[Command], int, str]]:
    """All of them, or two of each command."""
    return [
        (command, *broken)
        for command in COMMANDS
        for broken in some_of(list(product(range(1, command.calls + 1), MOMENTS)), 2)
    ]


@pytest.mark.parametrize(("kind", "number", "moment"), every_break())
async def test_a_call_breaks_of(
    ledger: Ledger, crew: Crew, redis_url: str, kind: type[Command], number: int, moment: str
) -> None:
    command, broken = kind(), asyncio.Event()
    async with Proxy(redis_url) as proxy, Ledger.opened(proxy.url, redis_url) as sender:
        await sender.client.bus.ready()
        await command.prepare(ledger, crew)
        first = len(proxy.calls)

        def decide(call: Call) -> Treatment:
            met = not broken.is_set() and call.number >= first + number
            return treatment_at(moment, broken.set) if met else PASS

        proxy.decide = decide
        try:
            await command.give(sender)
        except QueueUnavailable:  # and no other error
            assert broken.is_set()
            await command.give(sender)
        await command.check(ledger, crew)


@pytest.mark.parametrize("kind", COMMANDS)
async def test_every_call_of_it_is_broken(
    ledger: Ledger, crew: Crew, redis_url: str, kind: type[Command]
) -> None:
    """Should a command learn new calls, its ``calls`` has to grow."""
    command = kind()
    async with Proxy(redis_url) as proxy, Ledger.opened(proxy.url, redis_url) as sender:
        await sender.client.bus.ready()
        await command.prepare(ledger, crew)
        first = len(proxy.calls)
        await command.give(sender)
        made = [words[:1] for words in proxy.calls[first:]]
        await command.check(ledger, crew)
    assert len(made) <= command.calls, made
