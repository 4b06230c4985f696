"""What binds an action, case by case, and what `why` says of it. The worlds are in `why_worlds.py`."""

# ruff: noqa: E501 - sentences are compared as they are read

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from scheduler import State
from scheduler.why import Cause
from tests.scheduler.why_worlds import (
    MIDNIGHT,
    all_slots,
    before_its_turn,
    busy_worker,
    domain_limit,
    domain_paused,
    entry_gone,
    failed,
    idle_worker,
    later,
    later_and_limited,
    lease_over,
    named_limit,
    named_limit_held,
    no_handler,
    no_tier,
    nothing,
    one_may_handle,
    other_tenants,
    own_limits,
    pressed,
    put_off,
    quiet,
    tenant_paused,
    tier_limit,
    tier_paused,
    too_late,
    type_paused,
    used_up,
)
from tests.scheduler.world import MINUTE, NOW, World


class Case(NamedTuple):
    """Which action after what, and what is said of it."""

    given: Callable[[World], Awaitable[None]]
    action_id: str
    state: State
    causes: list[Cause]
    ahead: int | None
    earliest_ms: int | None
    sentence: str


C = Cause
CASES = {
    "no worker": Case(
        nothing, "acme-0", State.READY, [C.NO_WORKER], 0, NOW,
        "acme-0 is next in acme's line, but no worker serves embedding: start one (nooble worker).",
    ),
    "nothing binds": Case(
        idle_worker, "acme-0", State.READY, [], 0, NOW,
        "acme-0 is next in acme's line and nothing holds it: it starts with the next claim (1 idle worker; "
        "should it stay like this, read the worker's log).",
    ),
    "workers busy": Case(
        busy_worker, "acme-3", State.READY, [C.WORKERS_BUSY, C.OWN_LINE], 1, NOW,
        "acme-3 is 2nd in acme's line and 2 workers of embedding have no free slot: it starts as soon as one is "
        "free, after about 1 other start, 1 of them its tenant's own.",
    ),
    "others first": Case(
        other_tenants, "acme-0", State.READY, [C.WORKERS_BUSY, C.TIERS_AHEAD], 0, NOW,
        "acme-0 is next in acme's line and 1 worker of embedding has no free slot: it starts as soon as one is "
        "free, after about 8 other starts.",
    ),
    "other tenants first": Case(
        other_tenants, "b-1", State.READY, [C.WORKERS_BUSY, C.OWN_LINE, C.TENANTS_AHEAD, C.TIERS_AHEAD], 1, NOW,
        "b-1 is 2nd in b's line and 1 worker of embedding has no free slot: it starts as soon as one is free, "
        "after about 10 other starts, 1 of them its tenant's own.",
    ),
    "limit used up": Case(
        used_up, "acme-4", State.HELD, [C.LIMIT, C.OWN_LINE], 1, NOW + MINUTE + 1,
        "acme is held: its limit 3/minute is used up. acme-4 is 2nd in acme's line; it starts at the earliest "
        "at 2025-06-15 15:07:41Z, in 60 s.",
    ),
    "the next limit": Case(
        used_up, "acme-5", State.HELD, [C.LIMIT, C.OWN_LINE], 2, MIDNIGHT,
        "acme is held: its limit 3/minute is used up. acme-5 is 3rd in acme's line; limit 5/day lets it start "
        "at the earliest at 2025-06-16 00:00:00Z, in 9 h.",
    ),
    "limit before its turn": Case(
        before_its_turn, "acme-4", State.READY, [C.LIMIT, C.WORKERS_BUSY, C.OWN_LINE], 4, NOW + MINUTE + 1,
        "acme-4 is 5th in acme's line, but limit 3/minute of acme has room for 3 starts now; limit 3/minute "
        "lets it start at the earliest at 2025-06-15 15:07:41Z, in 60 s.",
    ),
    "limit not reached": Case(
        before_its_turn, "acme-2", State.READY, [C.WORKERS_BUSY, C.OWN_LINE], 2, NOW,
        "acme-2 is 3rd in acme's line and 1 worker of embedding has no free slot: it starts as soon as one is "
        "free, after about 2 other starts, 2 of them its tenant's own.",
    ),
    "domain limit": Case(
        domain_limit, "acme-1", State.HELD, [C.DOMAIN_LIMIT, C.WORKERS_BUSY], 0, NOW + MINUTE + 1,
        "acme-1 is next in acme's line, but limit 1/minute of the whole domain is used up; it starts at the "
        "earliest at 2025-06-15 15:07:41Z, in 60 s.",
    ),
    "tier limit": Case(
        tier_limit, "acme-2", State.HELD, [C.TIER_LIMIT, C.WORKERS_BUSY], 0, NOW + MINUTE + 1,
        "acme-2 is next in acme's line, but limit 2/minute of the whole tier is used up; it starts at the earliest at 2025-06-15 15:07:41Z, in 60 s.",
    ),
    "named limit": Case(
        named_limit, "bob-0", State.HELD, [C.NAMED_LIMIT, C.WORKERS_BUSY, C.TIERS_AHEAD], 0, NOW + MINUTE + 1,
        "bob-0 is next in bob's line, but limit openai 1/minute of its action type is used up; it starts at the earliest at 2025-06-15 15:07:41Z, in 60 s.",
    ),
    "held by a named limit": Case(
        named_limit_held, "acme-2", State.HELD, [C.NAMED_LIMIT, C.NAMED_LIMIT, C.OWN_LINE], 1, NOW + MINUTE + 1,
        "acme-2 is 2nd in acme's line, but the next in its tenant's line waits for limit openai, which its action type shares; it starts at the earliest at 2025-06-15 15:07:41Z, in 60 s; also, limit openai 1/minute of its action type is used up.",
    ),
    "concurrency": Case(
        all_slots, "acme-1", State.HELD, [C.CONCURRENCY], 0, None,
        "acme is held: tier solo lets it run 1 at once, and it does. acme-1 is next in acme's line and starts "
        "when its turn comes after one of them ends.",
    ),
    "scheduled": Case(
        later, "acme-0", State.SCHEDULED, [C.SCHEDULED], None, NOW + MINUTE,
        "acme-0 is scheduled for 2025-06-15 15:07:40Z, in 60 s.",
    ),
    "scheduled, then a limit": Case(
        later_and_limited, "acme-late", State.SCHEDULED, [C.SCHEDULED, C.LIMIT], None, MIDNIGHT + MINUTE + 1,
        "acme-late is scheduled for 2025-06-15 15:06:45Z, in 5.0 s; limit 3/minute lets it start at the earliest "
        "at 2025-06-16 00:01:01Z, in 9 h.",
    ),
    "retry": Case(
        failed, "acme-0", State.SCHEDULED, [C.RETRY], None, NOW + 10_000,
        "acme-0 failed 0 ms ago (attempt 1: ValueError: no [31m such thing in line 2) and is due again at 2025-06-15 15:06:50Z, in 8.0 s.",
    ),
    "snoozed": Case(
        put_off, "acme-0", State.SCHEDULED, [C.RETRY], None, NOW + 10_000,
        "acme-0 was put off by its handler and is due again at 2025-06-15 15:06:50Z, in 8.0 s.",
    ),
    "deadline": Case(
        too_late, "acme-late", State.HELD, [C.LIMIT, C.OWN_LINE, C.EXPIRES], 1, NOW + MINUTE + 1,
        "acme is held: its limit 3/minute is used up. acme-late is 2nd in acme's line; it starts at the "
        "earliest at 2025-06-15 15:07:41Z, in 60 s; also, its deadline 2025-06-15 15:06:41Z passes before it "
        "may start: it will expire.",
    ),
    "tenant paused": Case(
        tenant_paused, "acme-1", State.HELD, [C.PAUSED, C.NO_WORKER, C.OWN_LINE], 1, None,
        "acme-1 is 2nd in acme's line, but tenant acme was paused by ana at 2025-06-15 15:06:40Z: unpaid; nothing of it starts until it is resumed; also, no worker serves embedding.",
    ),
    "tier paused": Case(
        tier_paused, "acme-0", State.HELD, [C.PAUSED], 0, None,
        "acme-0 is next in acme's line, but tier free was paused by ana at 2025-06-15 15:06:40Z; nothing of it starts until it is resumed.",
    ),
    "domain paused": Case(
        domain_paused, "acme-0", State.HELD, [C.PAUSED], 0, None,
        "acme-0 is next in acme's line, but the whole domain was paused by ana at 2025-06-15 15:06:40Z: index rebuild; nothing of it starts until it is resumed.",
    ),
    "type paused, set aside": Case(
        type_paused, "acme-0", State.HELD, [C.PAUSED], None, None,
        "acme-0 waits for acme's turn in tier enterprise, but action type embedding.generate was paused by ana at 2025-06-15 15:06:40Z: model is down; nothing of it starts until it is resumed.",
    ),
    "backpressure": Case(
        pressed, "acme-0", State.HELD, [C.BACKPRESSURE, C.WORKERS_BUSY], 0, NOW + 20_000,
        "acme-0 is next in acme's line, but a handler said not now (backpressure) to tenant acme until 2025-06-15 15:07:00Z, in 20 s.",
    ),
    "limits of its own": Case(
        own_limits, "acme-2", State.READY, [C.LIMIT, C.WORKERS_BUSY, C.OWN_LINE], 2, 1_751_328_000_000,
        "acme-2 is 3rd in acme's line, but limit 1/minute of acme has room for 1 start now; limit 2/month lets it start at the earliest at 2025-07-01 00:00:00Z, in 15 days.",
    ),
    "workers quiet": Case(
        quiet, "acme-0", State.READY, [C.WORKERS_QUIET], 0, NOW,
        "acme-0 is next in acme's line, but the 2 workers of embedding claim nothing: quiet, or about to end: start another, or let them go on (nooble workers resume).",
    ),
    "no handler": Case(
        no_handler, "acme-0", State.READY, [C.NO_HANDLER], 0, NOW,
        "acme-0 is next in acme's line, but no worker of embedding handles embedding.generate (they handle embedding.drop, embedding.make): it will fail when it starts.",
    ),
    "one that may handle it": Case(
        one_may_handle, "acme-0", State.READY, [C.WORKERS_BUSY], 0, NOW,
        "acme-0 is next in acme's line and 3 workers of embedding have no free slot: it starts as soon as one is free.",
    ),
    "no such tier": Case(
        no_tier, "acme-0", State.READY, [C.NO_TIER, C.NO_WORKER], 0, None,
        "acme-0 will not start: the published policy has no tier 'enterprise' (it has gold): nobody serves its "
        "stream.",
    ),
    "entry gone": Case(
        entry_gone, "acme-0", State.READY, [C.ENTRY_GONE, C.NO_WORKER], 0, None,
        "acme-0 will not start: its entry was deleted from its stream by somebody else: it cannot run any more.",
    ),
    "lease over": Case(
        lease_over, "acme-0", State.RUNNING, [C.LEASE_ENDED], None, None,
        "acme-0 was started on worker w1, whose lease ended 3.0 s ago: it is probably dead. The action is taken "
        "back and starts again (attempt 2) once a worker is started: none is alive.",
    ),
}  # fmt: skip
