"""The actions that are not over, page by page, by tenant, tier and type."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import NamedTuple

from . import scripts
from .engine import Engine

PAGE = 500


class Alive(NamedTuple):
    """An action that waits or runs; ``action_type`` is empty when somebody deleted its entry."""

    action_id: str
    action_type: str
    tenant_id: str
    tier: str


async def matching(
    engine: Engine, domain: str, *, tenant_id: str = "", tier: str = "", action_type: str = ""
) -> AsyncIterator[list[Alive]]:
    """Pages of about ``PAGE`` looked-at actions each. What was there all the time is in one of them."""
    cursor = "0"
    while True:
        args = [cursor, PAGE, tenant_id, tier, action_type]
        reply = await scripts.run(engine.redis, scripts.load("matching"), engine.keys.root(domain), args)
        page = []
        for at in range(1, len(reply), 3):
            tenant, _, of_tier = reply[at + 2].decode().partition(":")
            page.append(Alive(reply[at].decode(), reply[at + 1].decode(), tenant, of_tier))
        if page:
            yield page
        cursor = reply[0].decode()
        if cursor == "0":
            return
