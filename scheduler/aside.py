"""What was set aside because its type is paused: whose, of which types, since when. Read-only."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import NamedTuple

from .engine import Engine

LOOKED_AT = 200_000
"""Actions looked at in one go at most; with more the counts are too small."""


class AsideLine(NamedTuple):
    """What is aside of one tenant in one tier. ``since_ms``: when the oldest of it was sent."""

    actions: int = 0
    types: tuple[str, ...] = ()
    since_ms: int = 0

    @property
    def why(self) -> str:
        """In a few words."""
        return (
            f"{', '.join(self.types[:3])}{' …' if len(self.types) > 3 else ''} paused" if self.types else ""
        )


NOTHING = AsideLine()


async def aside_types(engine: Engine, domain: str) -> list[str]:
    """Action types that are paused or just being resumed, whose actions may be aside."""
    fields = await engine.redis.hkeys(engine.keys.of("pauses", domain))
    parts = (field.decode().partition(":") for field in fields)
    return sorted({name for kind, _, name in parts if kind in ("type", "resuming")})


async def aside_lines(
    engine: Engine, domain: str, line: tuple[str, str] | None = None
) -> dict[tuple[str, str], AsideLine]:
    """What is aside in a domain, by (tenant, tier); of one of them alone when that is given."""
    found: dict[tuple[str, str], AsideLine] = {}
    left = LOOKED_AT
    for action_type in await aside_types(engine, domain):
        async for tenant_id, tier, since_ms in _aside(engine, domain, action_type, line):
            before = found.get((tenant_id, tier), AsideLine(since_ms=since_ms))
            types = before.types if action_type in before.types else (*before.types, action_type)
            found[tenant_id, tier] = AsideLine(before.actions + 1, types, min(before.since_ms, since_ms))
            left -= 1
            if not left:
                return found
    return found


async def _aside(
    engine: Engine, domain: str, action_type: str, line: tuple[str, str] | None
) -> AsyncIterator[tuple[str, str, int]]:
    match = f"* {':'.join(line)} *" if line else None
    key = engine.keys.of("set_aside", domain, action_type)
    async for member, _ in engine.redis.zscan_iter(key, match=match, count=1_000):
        entry, stream, _ = member.decode().split(" ")
        tenant_id, tier = stream.split(":")
        yield tenant_id, tier, int(entry.split("-")[0])
