"""Dead letters for tests: actions buried, letters found."""

from __future__ import annotations

from typing import Any

from scheduler import Outcome
from scheduler.dead_letters import DeadLetter, DeadLetters, LetterFilter
from tests.scheduler.world import World

ALL = LetterFilter()


async def bury(world: World, *actions: Any, reason: str = "ValueError: no", **more: Any) -> None:
    """Enqueue, claim and finish as dead."""
    await world.enqueue(*actions)
    while (claim := await world.claim(slots=100)).actions:
        await world.finish(*claim.actions, outcome=Outcome.DEAD, reason=reason, **more)


async def found(letters: DeadLetters, which: LetterFilter = ALL, **more: Any) -> list[DeadLetter]:
    return [letter async for page in letters.pages("embedding", which, **more) for letter in page]


async def ids(letters: DeadLetters, which: LetterFilter = ALL, **more: Any) -> list[str]:
    return [letter.action_id for letter in await found(letters, which, **more)]
