"""redrive: dead letters go back in line, each once, whoever asks and however often."""

from __future__ import annotations

import asyncio
import random

import pytest
from redis.exceptions import OutOfMemoryError

from scheduler import Outcome
from scheduler.dead_letters import DeadLetters, Note, Redriven
from tests.scheduler.letters import bury, found
from tests.scheduler.picture import Picture
from tests.scheduler.test_out_of_memory import no_memory
from tests.scheduler.world import MINUTE, NOW, World, changes, new, some


async def test_redriven(world: World, letters: DeadLetters) -> None:
    await world.enqueue(new("x1", reply_to="c1", unique_key="u", deadline_ms=NOW + 10))
    [action] = (await world.claim()).actions
    await world.finish(action, outcome=Outcome.DEAD, reason="no", response=b"error")
    world.clock.advance(MINUTE)
    before = await world.snapshot()
    assert await letters.redrive(world.domain, await found(letters)) == Redriven(1, [])
    after = changes(before, await world.snapshot())
    [*_, event] = after.pop("events")
    after.pop("events_told")
    assert event["lines"] == f"redriven {NOW + MINUTE} x1 embedding.generate acme:enterprise"
    assert after == {
        "actions": {"x1": "acme:enterprise @"},
        "counters": {"enterprise:enqueued": "1", "enterprise:dead": "1", "enterprise:redriven": "1"},
        "dead:acme": None,
        "dead_tenants": None,
        "mailbox:w1": ["wake"],
        "ready:enterprise": {"acme": 1_000_000},
        "resp:x1": None,
        "sleepers": None,
        "stream acme:enterprise": {"entries": ["x1"]},
        "unique_holders": {"u": "x1"},
        "waiting": {"acme:enterprise": "1"},
    }
    [again] = (await world.claim()).actions
    assert (again.attempt, again.payload, again.reply_to) == (1, b'{"id":"x1"}', "c1")
    assert (again.deadline_ms, again.enqueued_ms) == (0, NOW + MINUTE), (
        "a deadline that has passed is dropped"
    )
    await world.finish(again, response=b"result")
    picture = await world.snapshot()
    assert picture["resp:x1"] == ["result"]
    assert picture[f"done:{world.now // 300_000}"] == {"x1": "completed"}


async def test_a_deadline_in_the_future_stays(world: World, letters: DeadLetters) -> None:
    await bury(world, new("x1", deadline_ms=NOW + MINUTE))
    await letters.redrive(world.domain, await found(letters))
    assert (await world.claim()).actions[0].deadline_ms == NOW + MINUTE


@pytest.mark.parametrize(
    ("registered", "tier"),
    [(None, "enterprise"), ("professional", "professional"), ("solo", "solo"), ("gone", "free")],
)
async def test_the_tier_is_what_the_registry_says_today(
    world: World, letters: DeadLetters, registered: str | None, tier: str
) -> None:
    """`gone`: neither the registered tier nor the letter's is in the policy any more."""
    await bury(world, new("x1"))
    if registered == "gone":
        await world.redis.hset(world.key("registry"), "*", '{"order":["free"],"default":"free"}')
    elif registered:
        await world.redis.hset(world.key("registry"), "acme", registered)
    assert (await letters.redrive(world.domain, await found(letters))).redriven == 1
    assert [action.tier for action in (await world.claim()).actions] == [tier]


async def test_redriven_at_a_rate(world: World, letters: DeadLetters) -> None:
    await bury(world, *some(250))
    said = await letters.redrive(world.domain, await found(letters, newest_first=False), rate_per_s=3)
    assert said == Redriven(250, [])
    picture = await world.snapshot()
    Picture(picture).check_laws()
    due = [picture["scheduled"].get(f"acme-{n}", NOW) - NOW for n in range(250)]
    assert max(abs(due[n] - n * 1000 / 3) for n in range(250)) <= 2
    ended: list[str] = []
    for _ in range(90):
        claim = await world.claim(slots=100)
        ended += [action.action_id for action in claim.actions]
        await world.finish(*claim.actions)
        world.clock.advance(1_000)
        assert len(ended) <= 3 * (world.now - NOW) / 1000 + 1
    assert ended == [f"acme-{n}" for n in range(250)]
    assert set(await world.unfinished()) == {"mailbox:w1"}


@pytest.mark.parametrize("why", ["gone", "broken", "alive", "unique", "drain", "key"])
async def test_what_cannot_go_back_stays_as_it_is(world: World, letters: DeadLetters, why: str) -> None:
    await bury(world, new("x1", unique_key="u"))
    [letter] = await found(letters)
    said = why
    match why:
        case "gone":
            letter = letter._replace(letter_id="1-1")
        case "broken":
            await world.redis.xadd(world.stream(), {"data": "not ours"})
            await world.enqueue(new("x2"))
            await world.finish(*(await world.claim()).actions)
            letter = next(each for each in await found(letters) if "malformed" in each.reason)
        case "alive":
            await world.redis.hset(world.key("actions"), "x1", "acme:enterprise -")
        case "unique":
            world.clock.advance(3 * world.engine.duplicate_window_ms)
            await world.enqueue(new("x2", unique_key="u"))
            said = "unique x2"
        case "drain":
            await world.redis.hset(world.key("registry"), "acme", "enterprise drain")
        case "key":
            await world.redis.set(world.stream(), "somebody's")
    before = await world.snapshot()
    assert await letters.redrive(world.domain, [letter]) == Redriven(0, [(letter, said)])
    assert await world.snapshot() == before


async def test_a_server_without_memory_keeps_the_letters(world: World, letters: DeadLetters) -> None:
    await bury(world, new("x1"))
    known = await found(letters)
    before = await world.snapshot()
    async with no_memory(world):
        for rate in (0, 1):
            with pytest.raises(OutOfMemoryError):
                await letters.redrive(world.domain, known, first_due_ms=NOW + rate, rate_per_s=rate)
        assert await world.snapshot() == before
        assert await letters.discard(world.domain, known) == 1


async def test_racing_redrivers_and_discarders_take_each_letter_once(world: World) -> None:
    await bury(world, *some(300), *some(100, "b"))
    letters = DeadLetters(world.engine)
    known = await found(letters)
    dice = random.Random(7)

    async def somebody(discards: bool) -> int:
        own = list(known)
        dice.shuffle(own)
        own.sort(key=lambda letter: letter.tenant_id)
        taken = 0
        for at in range(0, len(own), 25):
            batch = own[at : at + 25]
            if discards:
                taken += await letters.discard(world.domain, batch)
            else:
                taken += (await letters.redrive(world.domain, batch)).redriven
        return taken

    *redriven, discarded = await asyncio.gather(*(somebody(n == 4) for n in range(5)))
    assert sum(redriven) + discarded == 400
    assert discarded > 0
    Picture(await world.snapshot()).check_laws()
    waiting = {name: int(count) for name, count in (await world.snapshot())["waiting"].items()}
    assert sum(waiting.values()) == sum(redriven)
    assert await letters.tenants(world.domain) == {}


async def test_who_did_it_is_kept_once_when_something_was_done(world: World, letters: DeadLetters) -> None:
    await bury(world, *some(250))
    known = await found(letters)
    note = Note("ada", "the disk is new", "redrive dead letters")
    await letters.redrive(world.domain, known[:220], note=note)
    await letters.redrive(world.domain, known[:220], note=note)
    await letters.discard(world.domain, known, note=note._replace(did="discard dead letters"))
    assert (await world.snapshot())["operations"] == [
        {"at": str(NOW), "by": "ada", "why": "the disk is new", "did": f"{verb} dead letters"}
        for verb in ("redrive", "discard")
    ]
