"""Looking again at who is held, after a limit was raised or removed."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

from . import scripts

_AT_ONCE = 500


async def rehold(redis: Any, root: str, limits: Collection[str] = (), most: int = _AT_ONCE) -> int:
    """End the holds by ``limits`` (their names; all without any) in the domain of ``root``; how many ended.

    The next claims hold again whom something binds now. About ``most`` per script call.
    """
    script, cursor, ended = scripts.load("rehold"), b"0", 0
    while True:
        cursor, count = await scripts.run(redis, script, root, [cursor, most, *limits])
        ended += int(count)
        if cursor == b"0":
            return ended


async def settle(redis: Any, root: str, unsettled_key: str, replaced: bytes, policy_json: str) -> None:
    """End the holds that only the ``replaced`` policy causes, not the one at work now (``policy_json``).

    Until then ``replaced`` stands in ``unsettled_key``: when this process dies, another one does it.
    """
    if not replaced:
        await rehold(redis, root)
    elif gone := _holding(json.loads(replaced)) - _holding(json.loads(policy_json)):
        await rehold(redis, root, {why for why, _ in gone})
    if await redis.get(unsettled_key) == replaced:
        await redis.delete(unsettled_key)


def _holding(policy: Any) -> set[tuple[str, str]]:
    """Every hold that a compiled policy can cause: why, as ``held_why`` names it, and the rule behind it."""
    found = set()
    for tier in policy["tiers"]:
        found |= {(str(limit[0]), json.dumps([tier["name"], limit])) for limit in tier["limits"]}
        found.add((f"concurrency {tier['concurrency']}", tier["name"]))
    return found | {(f"limit {each['name']}", json.dumps(each)) for each in policy.get("named", ())}
