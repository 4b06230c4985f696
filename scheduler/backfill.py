"""Fire the due times of a past range, at a chosen rate; whoever is cut off goes on where it stopped.

How far a backfill is stands in ``backfills`` and moves in the step that enqueues, so that a due time of the
range is fired once, however often or by however many the same backfill is started.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from itertools import islice, takewhile
from typing import NamedTuple

from .engine import Engine
from .fired import known
from .schedule_errors import ScheduleError
from .schedule_store import AT_ONCE, ScheduleStore
from .schedules import Overlap, Plan

MOST = 100_000
"""Due times of one backfill."""

_KEPT = 1_000
_PACE_S = 0.25
_LOOKED_AT = 1_000

Sleep = Callable[[float], Awaitable[None]]


class Backfilled(NamedTuple):
    """How far a backfill is: due times of the range, those done before and now, and actions accepted now."""

    total: int
    done: int
    accepted: int


async def backfill(
    engine: Engine,
    domain: str,
    schedule_id: str,
    from_ms: int,
    until_ms: int,
    *,
    per_second: float = 100.0,
    on_progress: Callable[[Backfilled], None] | None = None,
    sleep: Sleep = asyncio.sleep,
) -> Backfilled:
    """Fire the due times in [``from_ms``, ``until_ms``), the oldest first, at most ``per_second``.

    What is known to have been fired, live or by another backfill (see :mod:`scheduler.fired`), is not fired
    again; neither is what its action's id tells: it is alive, or ended within the duplicate window. With
    ``overlap=skip`` the next is fired when no other action of the schedule waits or runs.

    Raises :class:`ScheduleError`, before anything is written, for a range in the future, an empty one, or one
    of more than ``MOST`` due times.
    """
    store = ScheduleStore(engine)
    schedule = (await store.get(domain, schedule_id)).schedule
    if not 0 <= from_ms < until_ms <= engine.clock.now_ms():
        raise ScheduleError("a backfill's range must end after it begins, and not in the future")
    if not 0 < per_second <= 100_000:
        raise ScheduleError(f"a rate must be above 0 and at most 100000 per second, not {per_second:g}")
    times = takewhile(lambda each: each < until_ms, schedule.due_after(from_ms - 1))
    total = sum(1 for _ in islice(times, MOST + 1))
    if not 0 < total <= MOST:
        raise ScheduleError(
            f"schedule {schedule_id} has {'no' if not total else 'more than ' + str(MOST)} due times in that "
            "range; choose another"
        )
    key = engine.keys.of("backfills", domain)
    cursor = f"{schedule_id} {from_ms} {until_ms}"
    if await engine.redis.zadd(key, {cursor: from_ms}, nx=True):
        await engine.redis.zremrangebyrank(key, 0, -_KEPT - 1)
    at_once = max(1, min(AT_ONCE, int(per_second * _PACE_S)))
    accepted = 0
    while True:
        said = await engine.redis.zscore(key, cursor)
        at_ms = until_ms if said is None else int(said)
        schedule = (await store.get(domain, schedule_id)).schedule  # somebody may have edited it
        left = [*takewhile(lambda each: each < until_ms, schedule.due_after(at_ms - 1))]
        if on_progress is not None:
            on_progress(Backfilled(total, max(total - len(left), 0), accepted))
        if not left:
            return Backfilled(total, total, accepted)
        alone = schedule.overlap is Overlap.SKIP
        looked_at, fires = _next(left, await known(engine, domain, schedule_id), 1 if alone else at_once)
        doing = Plan(fires, left[looked_at - 1] + 1 if len(left) > looked_at else until_ms)
        taken = await store.fire(domain, schedule, at_ms, doing, cursor)
        accepted += sum(taken or ())
        if alone and fires and await engine.redis.zscore(key, cursor) == at_ms:
            await sleep(max(_PACE_S, 1 / per_second))  # another one is alive
        elif len(left) > looked_at:
            await sleep(len(fires) / per_second)


def _next(left: Sequence[int], fired: set[int], most: int) -> tuple[int, list[int]]:
    """At how many of the due times to look now, and which of them to fire."""
    fires: list[int] = []
    for looked_at, due_ms in enumerate(left, start=1):
        if due_ms not in fired:
            fires.append(due_ms)
        if len(fires) >= most or looked_at >= _LOOKED_AT:
            return looked_at, fires
    return len(left), fires
