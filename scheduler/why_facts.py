"""What ``why.lua`` answers, named and typed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import aclosing
from typing import Any, NamedTuple

from . import scripts
from .attempts import AttemptError, read_attempts
from .calendar import period_args
from .dead_letters import DeadLetters, LetterFilter
from .engine import Engine
from .inspect import OutcomeEvent, parse_event
from .overrides import read_override
from .usage import LimitStatus

_COUNTED_AT_ONCE = 1_000
_COUNTED_AT_MOST = 100_000
_EVENTS_AT_ONCE = 500
_EVENTS_AT_MOST = 50_000
_PAGES_AT_MOST = 20


class TierLine(NamedTuple):
    """The ready tenants of one tier: how many, and the first of them as (tenant, tag, waiting)."""

    name: str
    tenants: int
    share: float
    weight: float
    first: tuple[tuple[str, float, int], ...]


class Paused(NamedTuple):
    """``domain``, ``tier:…``, ``type:…`` or ``tenant:…`` is paused; by whom, since when, and why."""

    what: str
    by: str
    at_ms: int
    why: str


class Facts(NamedTuple):
    """How everything stood that matters to one action. ``ended`` alone: it is over.

    ``attempts`` have been handed out. ``held``: the tenant is, until ``held_until_ms`` (None: until one of
    its actions ends). ``claiming`` are the workers that are not on their way
    out; ``unhandled``: each of them says what it ``handles``, and its type is not there. ``rank``: tenants of
    its tier with a smaller ``tag``. ``tiers`` are those of the
    published policy, best first; ``tier_at`` is its own among them, None when the policy does not have it.
    ``allowed_at_ms``: when limits would let it start, and ``allowed_by``: the one that it waits for last.
    ``errors``: of its failed attempts, newest first. ``pressed``: scopes to which a handler said not now, and
    until when.
    """

    now_ms: int
    ended: str = ""
    tenant_id: str = ""
    tier: str = ""
    action_type: str = ""
    unique_key: str = ""
    enqueued_ms: int = 0
    due_ms: int = 0
    deadline_ms: int = 0
    entry_found: bool = True
    never_placed: bool = False
    attempts: int = 0
    idle_ms: int = 0
    owner: str = ""
    lease_until_ms: int = 0
    workers: int = 0
    dead_workers: int = 0
    sleepers: int = 0
    claiming: int = 0
    unhandled: bool = False
    handles: tuple[str, ...] = ()
    no_policy: bool = False
    waiting: int = 0
    running: int = 0
    concurrency: int = 0
    held: bool = False
    held_until_ms: int | None = None
    held_why: str = ""
    ahead: int | None = None
    ahead_exact: bool = True
    tag: float | None = None
    rank: int = 0
    tier_at: int | None = None
    tiers: tuple[TierLine, ...] = ()
    limits: tuple[LimitStatus, ...] = ()
    allowed_at_ms: int | None = None
    allowed_exact: bool = True
    allowed_by: str = ""
    errors: tuple[AttemptError, ...] = ()
    paused: tuple[Paused, ...] = ()
    pressed: tuple[tuple[str, int], ...] = ()


async def gather(engine: Engine, domain: str, action_id: str) -> Facts | None:
    """The facts of one moment; None for an id nobody knows."""
    periods: Sequence[str] = engine.policy.compile(domain).periods
    root = engine.keys.root(domain)
    while True:
        now_ms = engine.clock.now_ms()
        args = [now_ms, engine.duplicate_window_ms, action_id, *period_args(periods, now_ms)]
        reply = await scripts.run(engine.redis, scripts.load("why"), root, args)
        if reply[0] == b"ok":
            break
        periods = [name.decode() for name in reply[1:]]
    raw: dict[str, Any] = json.loads(reply[1])
    if "stream" not in raw:
        return Facts(now_ms, raw["ended"]) if raw.get("ended") else None
    return await _count_on(engine, root, raw, _read(raw, now_ms))


async def _count_on(engine: Engine, root: str, raw: dict[str, Any], facts: Facts) -> Facts:
    """Count the rest of a long line; beyond a bound its place is only "at least"."""
    ahead, reached = facts.ahead or 0, raw.get("reached", "")
    while reached and ahead < _COUNTED_AT_MOST:
        args = [raw["stream"], reached, raw["entry"], _COUNTED_AT_ONCE]
        count, last = await scripts.run(engine.redis, scripts.load("place"), root, args)
        ahead, reached = ahead + count, last.decode()
    return facts if facts.ahead is None else facts._replace(ahead=ahead, ahead_exact=not reached)


def _read(raw: dict[str, Any], now_ms: int) -> Facts:
    tenant_id, tier = raw["stream"].split(":")
    head = raw.get("head", "").split(" ")
    known = len(head) == 7
    held_until = raw.get("held_until")
    if held_until not in (None, "inf") and float(held_until) <= now_ms:
        held_until = None  # the next claim ends it
    return Facts(
        now_ms,
        tenant_id=tenant_id,
        tier=tier,
        action_type=head[3] if known else "",
        unique_key=head[6] if known and head[6] != "-" else "",
        enqueued_ms=int(head[4]) if known else 0,
        due_ms=int(raw.get("due_ms", 0)),
        deadline_ms=int(head[2]) if known else 0,
        entry_found=known,
        never_placed="due_ms" in raw and "consumer" not in raw,
        attempts=raw.get("attempt", raw.get("deliveries", 0)),
        idle_ms=raw.get("idle_ms", 0),
        owner=raw.get("owner", ""),
        lease_until_ms=int(raw.get("lease_until_ms", 0)),
        workers=raw["workers"],
        dead_workers=raw["dead_workers"],
        sleepers=raw["sleepers"],
        claiming=raw["claiming"],
        unhandled=raw.get("unhandled", False),
        handles=tuple(sorted(set(raw["handles"] or ()))),
        no_policy=raw.get("no_policy", False),
        waiting=raw.get("waiting", 0),
        running=raw.get("running", 0),
        concurrency=raw.get("concurrency", 0),
        held=held_until is not None,
        held_until_ms=None if held_until in (None, "inf") else int(float(held_until)),
        held_why=raw.get("held_why", ""),
        ahead=raw.get("ahead"),
        tag=float(raw["tag"]) if "tag" in raw else None,
        rank=raw.get("rank", 0),
        tier_at=raw["tier_at"] - 1 if "tier_at" in raw else None,
        tiers=tuple(_tier(each) for each in raw.get("tiers") or ()),
        limits=tuple(LimitStatus(*each) for each in raw.get("limits") or ()),
        allowed_at_ms=int(raw["allowed_at"]) if "allowed_at" in raw else None,
        allowed_exact=raw.get("allowed_exact", 1) == 1,
        allowed_by=raw.get("allowed_by", ""),
        paused=tuple(_paused(*each) for each in raw.get("paused") or ()),
        pressed=tuple((scope, int(until_ms)) for scope, until_ms in raw.get("pressed") or ()),
        errors=tuple(reversed(read_attempts(raw.get("failed", "").encode()))),
    )


def _paused(what: str, text: str) -> Paused:
    if what.startswith("tenant:"):
        override = read_override(text)
        return Paused(what, override.paused_by, override.paused_at_ms, override.paused_why)
    said = json.loads(text)
    return Paused(what, said.get("by", ""), said.get("at_ms", 0), said.get("why", ""))


def _tier(raw: dict[str, Any]) -> TierLine:
    first = tuple((tenant, float(tag), waiting) for tenant, tag, waiting in raw["first"] or ())
    return TierLine(raw["name"], raw["tenants"], raw["share"] / 1_000_000, raw["weight"], first)


async def history_of(engine: Engine, domain: str, action_id: str) -> list[OutcomeEvent]:
    """The attempts of an action that have ended, newest first, as far as the event stream remembers."""
    found: list[OutcomeEvent] = []
    before, looked_at = "+", 0
    while before and looked_at < _EVENTS_AT_MOST:
        args = [action_id, before, _EVENTS_AT_ONCE]
        reply = await scripts.run(engine.redis, scripts.load("outcomes"), engine.keys.root(domain), args)
        reached, *lines = (part.decode() for part in reply)
        events = (parse_event(line) for line in lines)
        found += [event for event in events if isinstance(event, OutcomeEvent)]
        before, looked_at = f"({reached}" if reached else "", looked_at + _EVENTS_AT_ONCE
    return found


async def reason_of(engine: Engine, domain: str, tenant_id: str, action_id: str) -> str:
    """Why an action is dead, as the newest of its tenant's letters say; empty when they do not."""
    pages = DeadLetters(engine).pages(domain, LetterFilter(tenant_id, action_id))
    looked_at = 0
    async with aclosing(pages):  # type: ignore[type-var]  # it is a generator
        async for page in pages:
            for letter in page:
                return letter.reason
            looked_at += 1
            if looked_at >= _PAGES_AT_MOST:
                break
    return ""
