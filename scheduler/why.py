"""Why an action has not started yet, or what became of it. Read-only, apart from the hot path.

``why.lua`` reads everything at one moment (:mod:`scheduler.why_facts`), :mod:`scheduler.why_causes` says what
of it binds, :mod:`scheduler.why_told` says so in a sentence.
"""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

from .engine import Engine
from .model import State
from .why_causes import explain
from .why_facts import gather, history_of, reason_of
from .why_model import Binding, Cause, Why
from .why_told import tell

_IDS_LOOKED_AT = 10_000


async def why(engine: Engine, domain: str, action_id: str, *, look_back: bool = True) -> Why | None:
    """Why it waits, where it runs, or how it ended; None for an id that is not known (any more).

    An id is known while the action is alive and for one to two duplicate windows after its end; with
    ``look_back`` as long as the domain's event stream tells of it.
    """
    facts = await gather(engine, domain, action_id)
    if facts is None and not look_back:
        return None
    begun = facts is None or facts.ended or facts.attempts or facts.due_ms
    history = await history_of(engine, domain, action_id) if begun else []
    known = explain(facts, history, domain, action_id, engine.clock.now_ms())
    if known is not None and known.state is State.DEAD and known.tenant_id:
        known = known._replace(reason=await reason_of(engine, domain, known.tenant_id, action_id))
    return known and known._replace(sentence=tell(known, facts))


async def find(engine: Engine, domains: Sequence[str], action_id: str) -> list[Why]:
    """The same in each of ``domains`` that knows the id; event streams are read only if none does."""
    for look_back in (False, True):
        looked = [await why(engine, domain, action_id, look_back=look_back) for domain in domains]
        found = [each for each in looked if each is not None]
        if found:
            return found
    return []


async def ids_like(engine: Engine, domains: Sequence[str], action_id: str) -> list[str]:
    """Ids of live actions that begin like or resemble ``action_id``, nearest first, at most three."""
    names: list[str] = []
    for domain in domains:
        async for name, _ in engine.redis.hscan_iter(engine.keys.of("actions", domain), count=1_000):
            names.append(name.decode())
            if len(names) >= _IDS_LOOKED_AT:
                break
    begin = [name for name in names if name.startswith(action_id)]
    return begin[:3] or get_close_matches(action_id, names, n=3, cutoff=0.75)


__all__ = ["Binding", "Cause", "Why", "find", "ids_like", "why"]
