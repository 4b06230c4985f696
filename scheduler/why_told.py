"""What is known of an action, in words: for somebody who has little time and did not write the queue."""

from __future__ import annotations

from .model import State
from .spoken import counted, moment, nth, past, span
from .why_facts import Facts
from .why_model import Binding, Cause, Why

_ERROR_SHOWN = 160
_ADVICE = {
    Cause.NO_WORKER: ": start one (nooble worker)",
    Cause.WORKERS_QUIET: ": start another, or let them go on (nooble workers resume)",
    Cause.NO_HANDLER: ": it will fail when it starts",
}
_ALSO = (
    *(Cause.PAUSED, Cause.NO_WORKER, Cause.WORKERS_QUIET, Cause.NO_HANDLER, Cause.EXPIRES),
    *(Cause.TIER_LIMIT, Cause.DOMAIN_LIMIT, Cause.NAMED_LIMIT),
)


def tell(known: Why, facts: Facts | None) -> str:
    """One or two sentences."""
    if known.state is State.RUNNING:
        return _running(known, facts)
    if facts is None or facts.ended:
        return _ended(known)
    return _waiting(known, facts)


def _running(known: Why, facts: Facts | None) -> str:
    ran = span(known.at_ms - known.started_ms)
    text = f"{known.action_id} runs on worker {known.worker} for {ran}, attempt {known.attempt}"
    if not known.causes:
        return f"{text}; the lease lasts until {moment(known.lease_until_ms)}."
    nobody = facts is not None and not facts.workers
    after = "once a worker is started: none is alive" if nobody else "within seconds"
    ago = span(known.at_ms - known.lease_until_ms)
    return (
        f"{known.action_id} was started on worker {known.worker}, whose lease ended {ago} ago: it is "
        f"probably dead. The action is taken back and starts again (attempt {known.attempt + 1}) {after}."
    )


def _ended(known: Why) -> str:
    what = {
        State.COMPLETED: "completed",
        State.CANCELLED: "was cancelled",
        State.EXPIRED: "expired: its deadline passed before it could start",
        State.DEAD: "failed for good",
    }[known.state]
    last = next((event for event in known.history if event.outcome == known.state.value), None)
    if last is None:
        return f"{known.action_id} {what}; nothing more is remembered of it."
    text = f"{known.action_id} {what} at {past(last.at_ms)}, {span(known.at_ms - last.at_ms)} ago"
    if last.claimed_ms and known.state is not State.EXPIRED:
        text += f"; it waited {span(last.queue_time_ms)} and ran {span(last.run_time_us // 1_000)}"
        text += f" (attempt {last.attempt})"
    if known.state is State.DEAD:
        text += f": {_brief(known.reason)}" if known.reason else ""
    return text + "."


def _waiting(known: Why, facts: Facts) -> str:
    main = known.causes[0] if known.causes else None
    name, tenant = known.action_id, known.tenant_id
    line = f"{name} {_place(known)}"
    match main.cause if main else None:
        case Cause.ENTRY_GONE | Cause.NO_TIER:
            return f"{name} will not start: {_text(main)}."
        case Cause.PAUSED:
            return f"{line}, but {_text(main)}; nothing of it starts until it is resumed{_also(known)}."
        case Cause.BACKPRESSURE:
            until_ms = known.causes[0].until_ms or 0
            return _close(known, f"{line}, but {_text(main)} until {_then(known, until_ms)}", facts, until_ms)
        case Cause.SCHEDULED:
            return _close(known, f"{name} is scheduled for {_then(known, known.due_ms)}", facts)
        case Cause.RETRY:
            again = f"is due again at {_then(known, known.due_ms)}"
            return _close(known, f"{name} {_ended_before(known)} and {again}", facts)
        case Cause.CONCURRENCY:
            why = f"{tenant} is held: tier {known.tier} lets it run {facts.concurrency} at once, and it does"
            return f"{why}. {line} and starts when its turn comes after one of them ends{_also(known)}."
        case Cause.LIMIT if known.state is State.HELD:
            return _close(known, f"{tenant} is held: its limit {facts.held_why} is used up. {line}", facts)
        case Cause.LIMIT | Cause.TIER_LIMIT | Cause.DOMAIN_LIMIT | Cause.NAMED_LIMIT:
            return _close(known, f"{line}, but {_text(main)}", facts)
        case Cause.NO_WORKER | Cause.WORKERS_QUIET | Cause.NO_HANDLER:
            return f"{line}, but {_text(main)}{_ADVICE[known.causes[0].cause]}{_also(known)}."
        case Cause.WORKERS_BUSY:
            return f"{line} and {_text(main)}: it starts as soon as one is free{_after(known)}."
        case _:
            idle = counted(facts.sleepers, "idle worker")
            return (
                f"{line} and nothing holds it: it starts with the next claim{_after(known)} "
                f"({idle}; should it stay like this, read the worker's log)."
            )


def _ended_before(known: Why) -> str:
    last = known.history[0] if known.history else None
    if last is not None and last.outcome == "snoozed":
        return "was put off by its handler"
    ago = f" {span(known.at_ms - last.at_ms)} ago" if last is not None else ""
    because = f": {_brief(known.errors[0].error)}" if known.errors and known.errors[0].error else ""
    return f"failed{ago} (attempt {known.attempt}{because})"


def _brief(text: str) -> str:
    """The beginning of somebody's error text, on one line, nothing in it that a terminal obeys."""
    plain = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return plain if len(plain) <= _ERROR_SHOWN else plain[: _ERROR_SHOWN - 1] + "…"


def _then(known: Why, at_ms: int) -> str:
    return f"{moment(at_ms)}, in {span(at_ms - known.at_ms)}"


def _close(known: Why, text: str, facts: Facts, told_ms: int = 0) -> str:
    """With the earliest start where that says more than what has been said."""
    earliest = known.earliest_start_ms
    if earliest is not None and earliest not in (known.due_ms, told_ms):
        said = facts.held_why if known.state is State.HELD else ""
        main = known.causes[0].cause if known.causes else None
        told = main in (Cause.TIER_LIMIT, Cause.DOMAIN_LIMIT)  # which limit
        by_limit = earliest == facts.allowed_at_ms and facts.allowed_by not in ("", said) and not told
        by = f"limit {facts.allowed_by} lets it start" if by_limit else "it starts"
        word = "at the earliest at" if known.earliest_exact else "some time after"
        text += f"; {by} {word} {moment(earliest)}, in {span(earliest - known.at_ms)}"
    return f"{text}{_also(known)}."


def _also(known: Why) -> str:
    """What else is wrong, besides the first cause."""
    more = [b for b in known.causes[1:] if b.cause in _ALSO]
    return "".join(f"; also, {binding.text}" for binding in more)


def _after(known: Why) -> str:
    if not known.starts_ahead:
        return f"{_also(known)}"
    own = f", {known.ahead:,} of them its tenant's own" if known.ahead else ""
    return f", after about {counted(known.starts_ahead, 'other start')}{own}{_also(known)}"


def _place(known: Why) -> str:
    if known.ahead is None:
        return f"waits for {known.tenant_id}'s turn in tier {known.tier}"
    if known.ahead == 0:
        return f"is next in {known.tenant_id}'s line"
    if not known.ahead_exact:
        return f"is behind more than {known.ahead:,} others in {known.tenant_id}'s line"
    return f"is {nth(known.ahead + 1)} in {known.tenant_id}'s line"


def _text(binding: Binding | None) -> str:
    return binding.text if binding else ""
