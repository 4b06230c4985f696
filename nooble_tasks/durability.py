"""What an enqueue promises: `memory`, `aof`, `replicated` (the setting `durability`; docs/guarantees.md)."""

from __future__ import annotations

from collections.abc import Sequence

from ._engine import UnconfirmedError
from .delivery_errors import NotReplicated


def raise_doubts(doubts: Sequence[UnconfirmedError]) -> None:
    """Raises NotReplicated when something is in line that too few replicas have."""
    if not doubts:
        return
    ids = [said.existing_id or said.action_id for doubt in doubts for said in doubt.enqueued]
    have, wanted = min(doubt.replicas for doubt in doubts), doubts[0].wanted
    what = f"action {ids[0]} is" if len(ids) == 1 else f"{len(ids):,} actions are"
    raise NotReplicated(
        f"{what} in line, but confirmed by {have} of {wanted} replicas: lost if the master is lost now; send "
        "it again under the same action_id or idempotency_key, which is one action, to confirm it",
        action_id=ids[0],
        details={"action_ids": ids, "replicas": have, "min_replicas": wanted},
    )
