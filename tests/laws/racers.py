"""Workers that race: many in this process, each with a connection of its own; run several such processes.

``python -m tests.laws.racers JSON`` reads from stdin when the race began (seconds of the machine's steady
clock), races, and prints one JSON list of starts. The racers' clock runs ``FASTER`` times as fast as the
machine's, so that a few seconds hold minutes and a midnight.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
import time
from contextlib import nullcontext
from typing import NamedTuple

from redis.asyncio import Redis

from scheduler import Engine, Finish, ManualClock, Outcome, Policy
from tests.laws.mutation import mutated
from tests.scheduler.world import DOMAIN, NOW

FASTER = 60
BEGAN_MS = NOW - NOW % 86_400_000 - 60_000
"""A minute before a midnight."""


class Race(NamedTuple):
    """What the racers are told."""

    url: str
    policy: str
    workers: int
    seconds: float
    sound: str = ""
    unsound: str = ""


class Start(NamedTuple):
    """One start: ``token`` numbers the claims in the server's order, ``now_ms`` is what the claim was told.

    ``from_s`` to ``until_s``, on the machine's steady clock, it was surely owned.
    """

    token: int
    now_ms: int
    tenant: str
    tier: str
    from_s: float
    until_s: float


async def run_one(race: Race, name: str, began_s: float) -> list[Start]:
    """One worker: claim a few, take a moment, finish them."""
    draw, clock, started = random.Random(name), ManualClock(), list[Start]()
    async with Redis.from_url(race.url, protocol=2, socket_timeout=10) as redis:
        engine = Engine(redis, policy=Policy.parse(race.policy), clock=clock)
        while (now_s := time.monotonic() - began_s) < race.seconds:
            clock.set(BEGAN_MS + int(now_s * 1000 * FASTER))
            await engine.extend(DOMAIN, name, register=True)
            claim = await engine.claim(DOMAIN, name, draw.choice([1, 2, 3, 20]))
            got_s = time.monotonic()
            await asyncio.sleep(draw.random() / 100)
            done_s = time.monotonic()
            await engine.finish(DOMAIN, name, [Finish(one, Outcome.COMPLETED) for one in claim.actions])
            started += [
                Start(one.token, clock.now_ms(), one.tenant_id, one.tier, got_s, done_s)
                for one in claim.actions
            ]
    return started


async def run_all(race: Race, began_s: float) -> list[Start]:
    """All workers of this process."""
    names = [f"racer-{os.getpid()}-{n}" for n in range(race.workers)]
    of_each = await asyncio.gather(*(run_one(race, name, began_s) for name in names))
    return [start for starts in of_each for start in starts]


def main() -> None:
    """One process of a race."""
    race = Race(*json.loads(sys.argv[1]))
    with mutated("claim", race.sound, race.unsound) if race.sound else nullcontext():
        print("ready", flush=True)
        print(json.dumps(asyncio.run(run_all(race, float(sys.stdin.readline())))))


if __name__ == "__main__":
    main()
