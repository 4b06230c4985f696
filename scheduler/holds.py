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
    gone = _gone(json.loads(replaced), json.loads(policy_json)) if replaced else set()
    if gone is None or gone or not replaced:
        await rehold(redis, root, gone or ())
    if await redis.get(unsettled_key) == replaced:
        await redis.delete(unsettled_key)


def _gone(old: Any, new: Any) -> set[str] | None:
    """What binds under ``old`` but not under ``new``, as ``held_why`` names it; None: it cannot be told."""
    before, after = _bindings(old), _bindings(new)
    if _rest(old) != _rest(new):
        return None
    return {why for _, why in before - after}


def _bindings(policy: Any) -> set[tuple[str, str]]:
    """(tier, why) of every hold that the tiers' own limits can cause."""
    found = {(tier["name"], str(limit[0])) for tier in policy["tiers"] for limit in tier["limits"]}
    bounded = [tier for tier in policy["tiers"] if tier["concurrency"]]
    return found | {(tier["name"], f"concurrency {tier['concurrency']}") for tier in bounded}


_HOLDS_NOBODY = {"version", "share", "weight", "by_run_time", "limits", "concurrency", "periods"}
"""Keys of a compiled policy that hold nobody, or whose holds are in ``_bindings``. Limits of the domain are
among them: they hold no tenant, they end the claim."""


def _rest(policy: Any) -> Any:
    """The policy without what ``_HOLDS_NOBODY`` names."""
    if isinstance(policy, dict):
        return {key: _rest(value) for key, value in policy.items() if key not in _HOLDS_NOBODY}
    return [_rest(item) for item in policy] if isinstance(policy, list) else policy
