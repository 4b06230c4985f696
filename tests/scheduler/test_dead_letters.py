"""Dead letters: what is kept of an action that failed, and how it is found."""

from __future__ import annotations

import pytest

from scheduler import Outcome
from scheduler.attempts import read_attempts
from scheduler.dead_letters import DeadLetter, DeadLetters, LetterFilter
from tests.scheduler.letters import ALL, bury, found, ids
from tests.scheduler.world import DAY, MINUTE, NOW, World, new, some

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
    said: list[str] = []
    async with world.redis.monitor() as monitor:
        await world.finish(*(await world.claim()).actions)
        await world.redis.echo("the end")
        while not said or "the end" not in said[-1]:
            said.append((await monitor.next_command())["command"])
    asked = [command for command in said if "attempts" in command and not command.startswith("EVAL")]
    assert len(said) > 10
    assert {command.split()[0] for command in asked} <= {"EXISTS"}, "looked for at most, together with others"
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
