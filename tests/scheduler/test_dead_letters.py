"""Dead letters: what is kept of an action that failed, and how it comes back or goes."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest
from redis.exceptions import OutOfMemoryError

from scheduler import Outcome
from scheduler.attempts import read_attempts
from scheduler.dead_letters import DeadLetter, DeadLetters, LetterFilter, Note, Redriven
from tests.scheduler.picture import Picture
from tests.scheduler.test_out_of_memory import no_memory
from tests.scheduler.world import DAY, MINUTE, NOW, World, changes, new, some

ALL = LetterFilter()


@pytest.fixture
def letters(world: World) -> DeadLetters:
    return DeadLetters(world.engine)


async def bury(world: World, *actions: Any, reason: str = "ValueError: no", **more: Any) -> None:
    """Enqueue, claim and finish as dead."""
    await world.enqueue(*actions)
    while (claim := await world.claim(slots=100)).actions:
        await world.finish(*claim.actions, outcome=Outcome.DEAD, reason=reason, **more)


async def found(letters: DeadLetters, which: LetterFilter = ALL, **more: Any) -> list[DeadLetter]:
    return [letter async for page in letters.pages("embedding", which, **more) for letter in page]


async def ids(letters: DeadLetters, which: LetterFilter = ALL, **more: Any) -> list[str]:
    return [letter.action_id for letter in await found(letters, which, **more)]


# -- what a letter knows -----------------------------------------------------------------------------------


async def test_a_letter_has_the_entry_and_every_failed_attempt(world: World, letters: DeadLetters) -> None:
    await world.enqueue(new("x1", deadline_ms=NOW + DAY))
    for attempt in (1, 2):
        [action] = (await world.claim()).actions
        await world.finish(
            action, outcome=Outcome.RETRY, due_ms=0, reason=f"OSError: {attempt}", run_time_us=7
        )
        world.clock.advance(1_000)
    [action] = (await world.claim()).actions
    await world.finish(action, outcome=Outcome.DEAD, reason="KeyError: 'naïve\n'")
    [letter] = await found(letters)
    assert letter._replace(letter_id="") == DeadLetter(
        "acme",
        "",
        "enterprise",
        NOW + 2_000,
        "KeyError: 'naïve\n'",
        3,
        11,
        "x1",
        "embedding.generate",
        NOW,
        NOW + DAY,
    )
    opened = await letters.open(world.domain, "acme", letter.letter_id)
    assert opened is not None
    assert (opened.letter, opened.payload) == (letter, b'{"id":"x1"}')
    assert opened.attempts == [
        (1, NOW, "w1", "OSError: 1", 7, False),
        (2, NOW + 1_000, "w1", "OSError: 2", 7, False),
        (3, NOW + 2_000, "w1", "KeyError: 'naïve\n'", 0, False),
    ]
    assert "attempts" not in await world.snapshot()


async def test_an_action_that_succeeds_at_first_leaves_no_trace_of_attempts(world: World) -> None:
    await world.enqueue(new("x1"))
    await world.redis.config_resetstat()
    await world.finish(*(await world.claim()).actions)
    stats = await world.redis.info("commandstats")
    assert "cmdstat_hmget" in stats
    assert stats.get("cmdstat_hget", {"calls": 0})["calls"] == 0
    assert "attempts" not in await world.snapshot()


@pytest.mark.parametrize("end", ["completed", "expired", "cancelled", "cancel", "deleted"])
async def test_the_attempts_are_forgotten_when_the_action_ends(world: World, end: str) -> None:
    await world.enqueue(new("x1"))
    [action] = (await world.claim()).actions
    await world.finish(action, outcome=Outcome.RETRY, due_ms=0, reason="OSError: x")
    assert (await world.snapshot())["attempts"]["x1"].startswith("0\n")
    if end == "cancel":
        await world.cancel("x1")
    else:
        [action] = (await world.claim()).actions
        if end == "deleted":
            await world.redis.delete(world.stream())
            await world.finish(action, outcome=Outcome.RETRY, due_ms=0, reason="OSError: y")
        else:
            await world.finish(action, outcome=Outcome(end))
    assert "attempts" not in await world.snapshot()


async def test_a_snooze_and_a_release_are_no_failed_attempts(world: World) -> None:
    await world.enqueue(new("x1"))
    [action] = (await world.claim()).actions
    await world.finish(action, outcome=Outcome.SNOOZED, due_ms=0, reason="Snooze: later")
    [action] = (await world.claim()).actions
    await world.engine.release(world.domain, "w1", [action])
    assert "attempts" not in await world.snapshot()


async def test_only_the_last_ten_attempts_are_kept(world: World, letters: DeadLetters) -> None:
    await world.enqueue(new("x1"))
    for attempt in range(1, 31):
        [action] = (await world.claim()).actions
        await world.finish(action, outcome=Outcome.RETRY, due_ms=0, reason=f"OSError: {attempt}" + "y" * 900)
    [action] = (await world.claim()).actions
    assert len((await world.snapshot())["attempts"]["x1"]) < 10 * 700
    await world.finish(action, outcome=Outcome.DEAD, reason="the end")
    [letter] = await found(letters)
    opened = await letters.open(world.domain, "acme", letter.letter_id)
    assert opened is not None
    assert [each.attempt for each in opened.attempts] == list(range(22, 32))


def test_attempts_of_another_version_are_left_out() -> None:
    assert read_attempts(b'{"attempt": 1, "mood": "bad"}\nnonsense\n\xff\n[]') == []


# -- looking -----------------------------------------------------------------------------------------------


async def test_filters(world: World, letters: DeadLetters) -> None:
    await bury(world, new("a1"), reason="OSError: Disk full")
    world.clock.advance(MINUTE)
    await bury(
        world, new("b1", "b"), new("a2")._replace(action_type="embedding.batch.run"), reason="KeyError: 'x'"
    )
    assert await letters.tenants(world.domain) == {"acme": 2, "b": 1}
    for which, expected in [
        (ALL, ["a2", "a1", "b1"]),
        (LetterFilter(tenant_id="b"), ["b1"]),
        (LetterFilter(tenant_id="nobody"), []),
        (LetterFilter(action_id="a1"), ["a1"]),
        (LetterFilter(action_type="embedding.generate"), ["a1", "b1"]),
        (LetterFilter(action_type="embedding.gen"), []),
        (LetterFilter(action_type="embedding.batch.*"), ["a2"]),
        (LetterFilter(reason="disk FULL"), ["a1"]),
        (LetterFilter(reason="%a"), []),
        (LetterFilter(since_ms=NOW + 1), ["a2", "b1"]),
        (LetterFilter(until_ms=NOW), ["a1"]),
    ]:
        assert await ids(letters, which) == expected, which
    assert await ids(letters, newest_first=False) == ["a1", "a2", "b1"]


async def test_many_pages_and_an_end_even_while_letters_come(world: World, letters: DeadLetters) -> None:
    await bury(world, *some(600))
    seen: list[str] = []
    async for page in letters.pages(world.domain, ALL, newest_first=False):
        seen += [letter.action_id for letter in page]
        await bury(world, new(f"late-{len(seen)}"))
    assert seen == [f"acme-{n}" for n in range(600)]


async def test_what_cannot_be_opened(world: World, letters: DeadLetters) -> None:
    await bury(world, new("x1"))
    for name in ("1-1", "x", "- +", ""):
        assert await letters.open(world.domain, "acme", name) is None


# -- redrive -----------------------------------------------------------------------------------------------


async def test_redriven(world: World, letters: DeadLetters) -> None:
    await world.enqueue(new("x1", reply_to="c1", unique_key="u", deadline_ms=NOW + 10))
    [action] = (await world.claim()).actions
    await world.finish(action, outcome=Outcome.DEAD, reason="no", response=b"error")
    world.clock.advance(MINUTE)
    before = await world.snapshot()
    assert await letters.redrive(world.domain, await found(letters)) == Redriven(1, [])
    after = changes(before, await world.snapshot())
    [*_, event] = after.pop("events")
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


@pytest.mark.parametrize("why", ["gone", "broken", "alive", "unique", "tier", "key"])
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
        case "tier":
            await world.redis.set(world.key("policy"), '{"tiers":[{"name":"gold"}]}')
            said = "tier enterprise"
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


# -- discard, prune ----------------------------------------------------------------------------------------


async def test_discarded(world: World, letters: DeadLetters) -> None:
    await bury(world, *some(3), new("b1", "b"))
    known = await found(letters)
    before = await world.snapshot()
    assert await letters.discard(world.domain, [*known[:2], known[1], known[3]]) == 3
    after = changes(before, await world.snapshot())
    assert set(after) == {"counters", "dead:acme", "dead:b", "dead_tenants"}
    assert (after["dead:b"], after["dead_tenants"]) == (None, {"acme": NOW})
    assert after["counters"]["enterprise:discarded"] == "3"
    assert await ids(letters) == ["acme-0"]


@pytest.mark.parametrize(
    ("keep", "keep_ms", "left"),
    [(100, DAY, 6), (4, DAY, 4), (0, DAY, 0), (100, MINUTE, 3), (2, MINUTE, 2), (100, 0, 0)],
)
async def test_pruned_by_count_and_age(
    world: World, letters: DeadLetters, keep: int, keep_ms: int, left: int
) -> None:
    await bury(world, *some(3))
    world.clock.advance(MINUTE)
    await bury(world, *(new(f"later-{n}") for n in range(3)))
    world.clock.advance(1)
    assert await letters.prune(world.domain, keep=keep, keep_ms=keep_ms) == 6 - left
    expected = [*(f"acme-{n}" for n in range(3)), *(f"later-{n}" for n in range(3))][6 - left :]
    assert await ids(letters, newest_first=False) == expected
    assert ("dead_tenants" in await world.snapshot()) == bool(left)


async def test_pruning_is_bounded(world: World, letters: DeadLetters) -> None:
    await bury(world, *some(30), *some(30, "b"))
    assert await letters.prune(world.domain, keep=5, keep_ms=DAY, most=10) == 20
    assert await letters.tenants(world.domain) == {"acme": 20, "b": 20}
