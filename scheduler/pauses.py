"""Pausing and resuming a domain, a tier or an action type; the log of operators' commands.

What runs goes on, what waits stays in line. Each command names who gives it and why.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import NamedTuple

from . import scripts
from .batches import MAX_ITEMS
from .engine import Engine
from .errors import ScriptError, UnknownLimitError, UnknownTierError, nearest
from .holds import rehold
from .overrides import require_author

DOMAIN = "domain"
"""What to pause: a whole domain. For the others see :func:`tier` and :func:`action_type`."""


class Pause(NamedTuple):
    """``what`` is paused, since when, by whom and why."""

    what: str
    by: str
    at_ms: int
    why: str


class Operation(NamedTuple):
    """A command that an operator gave."""

    at_ms: int
    by: str
    why: str
    did: str


def tier(name: str) -> str:
    """What to pause: a tier."""
    return f"tier:{name}"


def action_type(name: str) -> str:
    """What to pause: an action type."""
    return f"type:{name}"


def limit(name: str) -> str:
    """What to resume: a named limit for which a handler said not now."""
    return f"limit:{name}"


async def pause(engine: Engine, domains: Iterable[str], what: str, *, by: str, why: str = "") -> bool:
    """Nothing of it starts until it is resumed; False when it was paused everywhere already.

    Raises :class:`UnknownTierError` for a tier that the policy does not have, and changes nothing then.
    """
    _check(engine, what, by)
    if what.startswith("limit:"):
        raise ValueError("a named limit is not paused; pause its action types")
    changed = False
    for domain in domains:
        now_ms = engine.clock.now_ms()
        text = json.dumps({"by": by, "at_ms": now_ms, "why": why}, separators=(",", ":"))
        args = [now_ms, what, text, by, why]
        done = await scripts.run(engine.redis, scripts.load("pause"), engine.keys.root(domain), args)
        if done < 0:
            raise ScriptError("pause", f"200 action types are paused in {domain}; pause the domain or a tier")
        changed |= done == 1
    return changed


async def resume(
    engine: Engine,
    domains: Iterable[str],
    what: str,
    *,
    by: str,
    why: str = "",
    most: int = MAX_ITEMS,
) -> bool:
    """Let it start again, and end what handlers said for it; False when it was not paused anywhere.

    A sleeping worker is woken.
    What was set aside of an action type comes back to the head of its lines, in order, ``most`` per script
    call. Should this process die meanwhile, the claims bring back the rest.
    """
    _check(engine, what, by)
    kind, _, name = what.partition(":")
    scope = {"domain": "*", "tier": f"*:{name}", "limit": f"@{name}"}.get(kind, "")
    changed = False
    for domain in domains:
        left = 1
        while left:
            args = [engine.clock.now_ms(), what, scope, most, by, why]
            ended, _, left = await scripts.run(
                engine.redis, scripts.load("resume"), engine.keys.root(domain), args
            )
            changed |= bool(ended)
        if kind == "limit":
            await rehold(engine.redis, engine.keys.root(domain), [f"limit {name}"])
    return changed


async def list_pauses(engine: Engine, domain: str) -> list[Pause]:
    """What is paused in a domain; paused tenants are in :func:`scheduler.overrides.list_overrides`."""
    fields = await engine.redis.hgetall(engine.keys.of("pauses", domain))
    return [
        Pause(what.decode(), **json.loads(text))
        for what, text in sorted(fields.items())
        if not what.startswith(b"resuming:")
    ]


async def operations(engine: Engine, domain: str, count: int = 100) -> list[Operation]:
    """The latest commands of operators, newest first."""
    entries = await engine.redis.xrevrange(engine.keys.of("operations", domain), count=count)
    return [
        Operation(int(fields[b"at"]), *(fields[name].decode() for name in (b"by", b"why", b"did")))
        for _, fields in entries
    ]


def _check(engine: Engine, what: str, by: str) -> None:
    require_author(by)
    kind, _, name = what.partition(":")
    limits = engine.policy.limits
    if kind == "tier" and name not in engine.policy.names():
        raise UnknownTierError(name, engine.policy.names())
    if kind == "limit" and name not in limits:
        there_are = f"the policy has {', '.join(limits)}" if limits else "the policy has none"
        raise UnknownLimitError(f"unknown limit {name!r}{nearest(name, limits)}; {there_are}")
    if not (what == DOMAIN or (kind in ("tier", "type", "limit") and name and " " not in name)):
        raise ValueError(f"{what!r} is none of 'domain', 'tier:<tier>', 'type:<action type>', 'limit:<name>'")
