"""Which tenants wait, hold and run the most. Read-only; bounded memory however many there are."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Mapping, Sequence, Set
from enum import StrEnum
from typing import NamedTuple

from . import scripts
from .aside import NOTHING, AsideLine, aside_lines
from .counts import Waiting, running_by_line, waiting_pages
from .engine import Engine
from .inspect import OutcomeEvent, recent_events
from .overrides import paused_tenants
from .stops import PAUSED, Stops
from .stops import look as look_for_stops

_STARTS_WINDOW_MS = 60_000
_EVENTS_LOOKED_AT = 1_000
_HEADS_AT_ONCE = 200

Line = tuple[str, str]
"""(tenant, tier)"""


class SortBy(StrEnum):
    """Which tenants come first: those with the most, or the longest wait."""

    WAITING = "waiting"
    RUNNING = "running"
    STARTED = "started"
    OLDEST = "oldest"


class TenantRow(NamedTuple):
    """One tenant in one tier at the time of the look.

    ``waiting`` could start if nothing bound them; ``held`` says that something does, ``held_why`` what: a
    limit or a pause, of its own, its tier or its domain; ``held_until_ms`` until when (None: until one of
    its actions ends, or it is resumed). ``set_aside`` more are of paused types, ``set_aside_types``; a tenant
    with nothing else is held, too. ``oldest_ms``: since when its next action is ready, or the oldest that is
    aside; 0 when nothing waits. ``started``: attempts that began and ended within the last minute, as far as
    the event stream remembers.
    """

    tenant_id: str
    tier: str
    waiting: int
    running: int
    started: int
    oldest_ms: int = 0
    held: bool = False
    held_until_ms: int | None = None
    held_why: str = ""
    set_aside: int = 0
    set_aside_types: tuple[str, ...] = ()


class Tenants(NamedTuple):
    """The first of a domain's tenants with work. ``looked_at`` of ``total`` lines were compared.

    ``workers`` serve the domain: with none of them nothing starts, held or not.
    """

    domain: str
    at_ms: int
    rows: list[TenantRow]
    total: int
    looked_at: int
    workers: int = 0

    @property
    def truncated(self) -> bool:
        """Whether there are more than are told."""
        return self.total > len(self.rows)


async def tenants(
    engine: Engine,
    domain: str,
    *,
    tier: str | None = None,
    sort: SortBy = SortBy.WAITING,
    top: int = 20,
    held_only: bool = False,
    most: int = 200_000,
) -> Tenants:
    """The ``top`` tenants of a domain by ``sort``, most first; at most ``most`` lines are compared."""
    now_ms = engine.clock.now_ms()
    seen = await _see(engine, domain, now_ms)
    first = _First(top, sort, seen)
    total = looked_at = 0

    def wanted(line: Waiting) -> bool:
        return (tier is None or line.tier == tier) and (not held_only or _is_held(line, seen))

    async for page in waiting_pages(engine, domain):
        chosen = [line for line in page if wanted(line)]
        total += len(chosen)
        if looked_at < most:
            heads = await _heads(engine, domain, chosen) if sort is SortBy.OLDEST else {}
            first.offer(chosen, heads)
            looked_at += len(chosen)
    # Those with nothing in line, of which something is aside, runs or has run.
    named = seen.aside if held_only else {*seen.running, *seen.started, *seen.aside}
    idle = [Waiting(*line, 0, None) for line in named if not first.saw(line)]
    idle = [line for line in idle if tier is None or line.tier == tier]
    waits = await _which_wait(engine, domain, idle)
    first.offer([line for line in idle if (line.tenant_id, line.tier) not in waits], {})
    total, looked_at = total + len(idle) - len(waits), looked_at + len(idle) - len(waits)
    workers = await engine.redis.zcount(engine.keys.of("workers", domain), now_ms, "+inf")
    return Tenants(domain, now_ms, await _rows(engine, domain, first, seen), total, looked_at, workers)


class _Seen(NamedTuple):
    """What is known of lines besides what waits in them."""

    running: Mapping[Line, int]
    started: Mapping[Line, int]
    aside: Mapping[Line, AsideLine]
    paused: Set[str]
    stops: Stops


async def _see(engine: Engine, domain: str, now_ms: int) -> _Seen:
    return _Seen(
        await running_by_line(engine, domain),
        await _started(engine, domain, now_ms),
        await aside_lines(engine, domain),
        await paused_tenants(engine, domain),
        await look_for_stops(engine, domain),
    )


def _is_held(line: Waiting, seen: _Seen) -> bool:
    """Does something bind all that waits of it? A pause does, whether a claim has met it yet or not."""
    return bool(line.held_until is not None or line.tenant_id in seen.paused or seen.stops.of(line.tier))


class _First:
    """Keeps the first ``top`` of all lines that are offered."""

    def __init__(self, top: int, sort: SortBy, seen: _Seen) -> None:
        self._top, self._aside = top, seen.aside
        self._rank: dict[Line, tuple[float, Waiting]] = {}
        self._of: Callable[[Waiting, float], float] = {
            SortBy.WAITING: lambda line, _: line.actions + self._aside_of(line).actions,
            SortBy.RUNNING: lambda line, _: seen.running.get((line.tenant_id, line.tier), 0),
            SortBy.STARTED: lambda line, _: seen.started.get((line.tenant_id, line.tier), 0),
            SortBy.OLDEST: lambda _, since: -since if since else -math.inf,
        }[sort]

    def _aside_of(self, line: Waiting) -> AsideLine:
        return self._aside.get((line.tenant_id, line.tier), NOTHING)

    def offer(self, lines: Sequence[Waiting], heads: Mapping[Line, int]) -> None:
        """Compare more lines with the first ones so far."""
        for line in lines:
            key = (line.tenant_id, line.tier)
            since_ms = heads.get(key, 0) or self._aside_of(line).since_ms
            self._rank[key] = (self._of(line, since_ms), line)
        best = heapq.nsmallest(self._top, self._rank.items(), key=lambda item: (-item[1][0], item[0]))
        self._rank = dict(best)

    def saw(self, key: Line) -> bool:
        """Whether the line is among the first."""
        return key in self._rank

    def lines(self) -> list[Waiting]:
        """The first ones, in order."""
        return [line for _, line in self._rank.values()]


async def _started(engine: Engine, domain: str, now_ms: int) -> dict[Line, int]:
    events, _ = await recent_events(engine, domain, count=_EVENTS_LOOKED_AT)
    started: dict[Line, int] = {}
    for event in events:
        if isinstance(event, OutcomeEvent) and event.claimed_ms > now_ms - _STARTS_WINDOW_MS:
            key = (event.tenant_id, event.tier)
            started[key] = started.get(key, 0) + 1
    return started


async def _which_wait(engine: Engine, domain: str, lines: Sequence[Waiting]) -> set[Line]:
    if not lines:
        return set()
    names = [f"{line.tenant_id}:{line.tier}" for line in lines]
    counts = await engine.redis.hmget(engine.keys.of("waiting", domain), names)
    return {
        (line.tenant_id, line.tier) for line, count in zip(lines, counts, strict=True) if count is not None
    }


async def _heads(engine: Engine, domain: str, lines: Sequence[Waiting]) -> dict[Line, int]:
    heads: dict[Line, int] = {}
    for at in range(0, len(lines), _HEADS_AT_ONCE):
        batch = lines[at : at + _HEADS_AT_ONCE]
        streams = [f"{line.tenant_id}:{line.tier}" for line in batch]
        since = await scripts.run(engine.redis, scripts.load("heads"), engine.keys.root(domain), streams)
        heads.update({(line.tenant_id, line.tier): at_ms for line, at_ms in zip(batch, since, strict=True)})
    return heads


async def _rows(engine: Engine, domain: str, first: _First, seen: _Seen) -> list[TenantRow]:
    lines = first.lines()
    heads = await _heads(engine, domain, lines)
    names = [f"{line.tenant_id}:{line.tier}" for line in lines]
    reasons = await engine.redis.hmget(engine.keys.of("held_why", domain), names) if names else []
    rows = []
    for line, why in zip(lines, reasons, strict=True):
        key = (line.tenant_id, line.tier)
        aside = seen.aside.get(key, NOTHING)
        row = TenantRow(
            *key,
            line.actions,
            seen.running.get(key, 0),
            seen.started.get(key, 0),
            heads[key] or aside.since_ms,
            set_aside=aside.actions,
            set_aside_types=aside.types,
        )
        rows.append(_with_hold(row, line, why.decode() if why else "", seen))
    return rows


def _with_hold(row: TenantRow, line: Waiting, why: str, seen: _Seen) -> TenantRow:
    """What binds all of it."""
    stop = seen.stops.of(line.tier)
    if line.actions and line.tenant_id in seen.paused:
        return row._replace(held=True, held_why=PAUSED)
    if line.held_until is not None:
        until_ms = None if math.isinf(line.held_until) else int(line.held_until)
        return row._replace(held=True, held_until_ms=until_ms, held_why=why)
    if line.actions and stop is not None:
        return row._replace(held=True, held_until_ms=stop.until_ms, held_why=stop.brief)
    return row._replace(held=bool(row.set_aside and not line.actions))
