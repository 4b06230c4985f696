"""From facts to what binds an action, in plain Python without I/O."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .inspect import OutcomeEvent
from .model import State
from .spoken import counted, moment, past
from .why_facts import Facts, Paused
from .why_model import Binding, Cause, Why
from .why_order import ordered_before, starts_ahead

_ALSO_UNTIL = (Cause.BACKPRESSURE, Cause.TIER_LIMIT, Cause.DOMAIN_LIMIT, Cause.NAMED_LIMIT)


def explain(
    facts: Facts | None, history: Sequence[OutcomeEvent], domain: str, action_id: str, now_ms: int
) -> Why | None:
    """What is known of one action; None when neither the queue nor the event stream knows it."""
    if facts is None or facts.ended:
        return _ended(facts, history, domain, action_id, now_ms)
    known = Why(
        action_id,
        domain,
        _state(facts),
        facts.now_ms,
        tenant_id=facts.tenant_id,
        tier=facts.tier,
        action_type=facts.action_type,
        unique_key=facts.unique_key,
        enqueued_ms=facts.enqueued_ms,
        due_ms=facts.due_ms,
        deadline_ms=facts.deadline_ms,
        attempt=facts.attempts,
        history=tuple(history),
        errors=facts.errors,
    )
    return _running(known, facts) if facts.owner else _waiting(known, facts)


def _state(facts: Facts) -> State:
    if facts.owner:
        return State.RUNNING
    if facts.due_ms:
        return State.SCHEDULED
    used_up = any(each.scope in _SHARED and not each.remaining for each in facts.limits)
    return State.HELD if facts.held or facts.paused or facts.pressed or used_up else State.READY


def _ended(
    facts: Facts | None, history: Sequence[OutcomeEvent], domain: str, action_id: str, now_ms: int
) -> Why | None:
    last = next((event for event in history if event.outcome not in ("retry", "snoozed")), None)
    outcome = facts.ended if facts else last.outcome if last else ""
    if not outcome:
        return None
    known = Why(action_id, domain, State(outcome), now_ms, history=tuple(history))
    if last:
        known = known._replace(
            tenant_id=last.tenant_id,
            tier=last.tier,
            action_type=last.action_type,
            attempt=last.attempt,
            started_ms=last.claimed_ms,
        )
    return known


def _running(known: Why, facts: Facts) -> Why:
    causes: tuple[Binding, ...] = ()
    if facts.lease_until_ms < facts.now_ms:
        text = f"the lease of its worker {facts.owner} ended at {past(facts.lease_until_ms)}"
        causes = (Binding(Cause.LEASE_ENDED, text, facts.lease_until_ms),)
    return known._replace(
        worker=facts.owner,
        started_ms=facts.now_ms - facts.idle_ms,
        lease_until_ms=facts.lease_until_ms,
        causes=causes,
    )


def _waiting(known: Why, facts: Facts) -> Why:
    causes = tuple(_causes(facts, known.domain))
    stuck = {Cause.ENTRY_GONE, Cause.NO_TIER, Cause.PAUSED}
    earliest: int | None = None
    if not any(binding.cause in stuck for binding in causes) and facts.allowed_at_ms is not None:
        until = [binding.until_ms for binding in causes if binding.cause in _ALSO_UNTIL]
        earliest = max(facts.allowed_at_ms, facts.due_ms, *(each or 0 for each in until))
    if earliest is not None and 0 < facts.deadline_ms < earliest:
        text = f"its deadline {moment(facts.deadline_ms)} passes before it may start: it will expire"
        causes = (*causes, Binding(Cause.EXPIRES, text, facts.deadline_ms))
    return known._replace(
        ahead=facts.ahead,
        ahead_exact=facts.ahead_exact,
        starts_ahead=starts_ahead(facts),
        causes=causes,
        earliest_start_ms=earliest,
        earliest_exact=facts.allowed_exact,
    )


def _causes(facts: Facts, domain: str) -> Iterator[Binding]:
    """What binds it, what to look at first."""
    if not facts.entry_found:
        text = "its entry was deleted from its stream by somebody else: it cannot run any more"
        yield Binding(Cause.ENTRY_GONE, text)
    if facts.tier_at is None and not facts.no_policy:
        names = ", ".join(tier.name for tier in facts.tiers)
        text = f"the published policy has no tier {facts.tier!r} (it has {names}): nobody serves its stream"
        yield Binding(Cause.NO_TIER, text)
    for paused in facts.paused:
        yield Binding(Cause.PAUSED, _pause(paused))
    if facts.due_ms:
        again = not facts.never_placed
        text = "it is to run again then" if again else "it was sent to start then"
        yield Binding(Cause.RETRY if again else Cause.SCHEDULED, text, facts.due_ms)
    yield from _limits(facts)
    if not facts.workers:
        yield Binding(Cause.NO_WORKER, f"no worker serves {domain}")
    elif not facts.claiming:
        all_of = f"the {counted(facts.workers, 'worker')} of {domain}"
        yield Binding(Cause.WORKERS_QUIET, f"{all_of} claim nothing: quiet, or about to end")
    elif facts.unhandled:
        known = ", ".join(facts.handles[:5]) + (" …" if len(facts.handles) > 5 else "")
        text = f"no worker of {domain} handles {facts.action_type} (they handle {known or 'nothing'})"
        yield Binding(Cause.NO_HANDLER, text)
    elif not (facts.sleepers or facts.due_ms or facts.held or facts.paused):
        text = f"{counted(facts.workers, 'worker')} of {domain} {'has' if facts.workers == 1 else 'have'}"
        yield Binding(Cause.WORKERS_BUSY, f"{text} no free slot")
    yield from ordered_before(facts)


def _pause(paused: Paused) -> str:
    kind, _, name = paused.what.partition(":")
    whose = {"domain": "the whole domain", "type": f"action type {name}"}.get(kind, f"{kind} {name}")
    because = f": {paused.why}" if paused.why else ""
    return f"{whose} was paused by {paused.by or 'somebody'} at {past(paused.at_ms)}{because}"


_SHARED = {
    "tier": (Cause.TIER_LIMIT, "of the whole tier"),
    "domain": (Cause.DOMAIN_LIMIT, "of the whole domain"),
    "named": (Cause.NAMED_LIMIT, "of its action type"),
}


def _limits(facts: Facts) -> Iterator[Binding]:
    for scope, until_ms in facts.pressed:
        text = f"a handler said not now (backpressure) to {_pressed(facts, scope)}"
        yield Binding(Cause.BACKPRESSURE, text, until_ms)
    if facts.held and not facts.due_ms:
        yield from _held(facts)
    else:
        yield from _before_its_turn(facts)
    for each in facts.limits:
        if each.scope in _SHARED and not each.remaining:
            cause, whose = _SHARED[each.scope]
            yield Binding(cause, f"limit {each.name} {whose} is used up", each.more_at_ms)


def _pressed(facts: Facts, scope: str) -> str:
    if scope.startswith("@"):
        return f"limit {scope[1:]}"
    if scope == "*":
        return "the whole domain"
    return f"tier {facts.tier}" if scope.startswith("*:") else f"tenant {facts.tenant_id}"


def _held(facts: Facts) -> Iterator[Binding]:
    if facts.held_why in ("paused", "backpressure"):
        return
    if facts.held_why.startswith("limit "):
        text = f"the next in its tenant's line waits for {facts.held_why}, which its action type shares"
        yield Binding(Cause.NAMED_LIMIT, text, facts.held_until_ms)
    elif facts.held_until_ms is None:
        text = f"all {facts.concurrency} slots of {facts.tenant_id} are taken ({facts.held_why})"
        yield Binding(Cause.CONCURRENCY, text)
    else:
        text = f"limit {facts.held_why} of {facts.tenant_id} is used up"
        yield Binding(Cause.LIMIT, text, facts.held_until_ms)


def _before_its_turn(facts: Facts) -> Iterator[Binding]:
    before = facts.ahead or 0
    short = [each for each in facts.limits if each.scope == "tenant" and each.remaining <= before]
    allowed_at = facts.allowed_at_ms or 0
    if short and allowed_at > max(facts.now_ms, facts.due_ms):
        least = min(short, key=lambda each: each.remaining)
        room = counted(least.remaining, "start")
        text = f"limit {least.name} of {facts.tenant_id} has room for {room} now"
        yield Binding(Cause.LIMIT, text, allowed_at)
