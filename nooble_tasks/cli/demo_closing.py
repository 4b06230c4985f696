"""The end of the demo: what has not started is cancelled, what runs ends, then the books are closed."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

from nooble_tasks.actions import DomainAction
from nooble_tasks.client import BaseRedisClient
from nooble_tasks.handle import cancelled_response

from .demo_ledger import CANCELLED, Ledger
from .demo_load import QUESTION, UPLOAD
from .demo_watch import ASKED_DOMAINS, Watch

_ANSWERS_WITHIN_S = 20.0
_BALANCE_WITHIN_S = 15.0
_SETTLE_S = 3.0
_POLL_S = 0.1


async def close_books(client: BaseRedisClient, ledger: Ledger, watch: Watch) -> dict[str, int]:
    """Returns how many actions of each tier a limit still held. What stays open shows in the report."""
    await _settle(ledger, watch)
    held: Counter[str] = Counter()
    for counts in watch.counts.values():
        for row in counts.tiers:
            held[row.tier] += row.held
    await _cancel_rest(client, ledger)
    try:
        await asyncio.wait_for(ledger.all_closed.wait(), _ANSWERS_WITHIN_S)
    except TimeoutError:
        pass
    await _end_nested(client.bus.engine, watch)
    return dict(held)


async def _settle(ledger: Ledger, watch: Watch) -> None:
    """A moment for what can still start: only what limits hold should be left to cancel."""
    deadline = asyncio.get_running_loop().time() + _SETTLE_S
    while True:
        await watch.look()
        busy = any(row.ready or row.running for counts in watch.counts.values() for row in counts.tiers)
        if not ledger.open_count or not busy or asyncio.get_running_loop().time() > deadline:
            return
        await asyncio.sleep(_POLL_S)


async def _cancel_rest(client: BaseRedisClient, ledger: Ledger) -> None:
    for domain, action_type in zip(ASKED_DOMAINS, (UPLOAD, QUESTION), strict=True):
        entries = ledger.open_entries(domain)
        items = [
            (
                entry.action_id,
                cancelled_response(
                    DomainAction(
                        action_id=entry.action_id, action_type=action_type, tenant_id=entry.tenant_id
                    )
                ),
            )
            for entry in entries
        ]
        said = await client.bus.engine.cancel(domain, items)
        for entry, outcome in zip(entries, said, strict=True):
            if outcome in ("cancelled", "parent") and entry.by_callback:
                ledger.close(entry.action_id, CANCELLED)


async def _end_nested(engine: Any, watch: Watch) -> None:
    """What services had asked of each other for an action that is cancelled by now."""
    deadline = asyncio.get_running_loop().time() + _BALANCE_WITHIN_S
    while True:
        for domain in watch.domains:
            if domain not in ASKED_DOMAINS:
                left = await engine.redis.hkeys(engine.keys.of("actions", domain))
                await engine.cancel(domain, [(action_id.decode(), b"") for action_id in left])
        await watch.look()
        if watch.balanced() or asyncio.get_running_loop().time() > deadline:
            return
        await asyncio.sleep(_POLL_S)
