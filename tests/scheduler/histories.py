"""What random histories are made of: policies, and steps of every verb."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from scheduler import Outcome, Policy, Refusal, RefusalReason
from scheduler.limit_rules import LimitRule
from tests.scheduler.world import DAY, MINUTE

WINDOWS = ("moving-window", "fixed-window", "sliding-window-counter")
RATES = st.sampled_from(["1/second", "2/minute", "3/minute", "5/hour"])
LIMITS = st.one_of(
    st.builds(lambda rate, strategy: {"rate": rate, "strategy": strategy}, RATES, st.sampled_from(WINDOWS)),
    st.builds(lambda rate: {"rate": rate, "strategy": "calendar"}, st.sampled_from(["4/day", "6/2 day"])),
)


def counts(limit: dict[str, Any]) -> str:
    """What starts it counts: no two limits of a tenant count the same."""
    return LimitRule.model_validate(limit).compile("UTC").key


NAMED = {"x": ["embedding.long"], "y": ["embedding.long", "embedding.b"], "z": ["embedding.b"]}
PRESSED = [("tenant", 500), ("tenant", MINUTE), ("tier", 2_000), ("domain", 700), ("x", MINUTE), ("z", 900)]
TENANTS = st.sampled_from(["a", "a", "b", "c"])
WORKERS = st.sampled_from(["w1", "w1", "w2"])
NUMBER = st.integers(0, 99)

Verbs = list[tuple[int, st.SearchStrategy[Any]]]
"""Steps, and how often each of them."""

OFTEN: Verbs = [
    (
        6,
        st.tuples(
            st.just("enqueue"),
            TENANTS,
            st.integers(0, 2),  # tier
            st.sampled_from([1, 1, 2, 3, 6, 15]),  # how many
            st.sampled_from([0, 0, 0, 0, 500, MINUTE]),  # due in
            st.sampled_from([0, 0, 0, 0, 700, 2 * MINUTE]),  # deadline in
            st.sampled_from([""] * 9 + ["u1"]),  # unique key
            st.sampled_from([False] * 9 + [True]),  # the last id once more
            st.sampled_from(["embedding.b", "embedding.b", "embedding.long"]),
        ),
    ),
    (8, st.tuples(st.just("claim"), WORKERS, st.sampled_from([1, 2, 3, 5, 8, 25, 60]))),
    (
        4,
        st.tuples(
            st.just("finish"),
            st.lists(NUMBER, min_size=1, max_size=4),
            st.sampled_from([*Outcome, Outcome.COMPLETED, Outcome.COMPLETED, Outcome.RETRY, Outcome.SNOOZED]),
            st.sampled_from([0, 0, 300, MINUTE]),
            st.sampled_from([0, 999, 250_000, 40_000_000]),  # run time in µs
            st.sampled_from([("", 0)] * 6 + PRESSED),
        ),
    ),
    (
        4,
        st.tuples(
            st.just("advance"),
            st.sampled_from([1, 300, 1000, 1000, 7_000, 16_000, MINUTE, MINUTE + 1, DAY, -3, -2_000]),
        ),
    ),
]
RARE: Verbs = [
    (2, st.tuples(st.just("release"), st.lists(NUMBER, min_size=1, max_size=2), st.booleans())),
    (1, st.tuples(st.just("late_finish"), NUMBER)),
    (2, st.tuples(st.just("cancel"), NUMBER)),
    (1, st.tuples(st.just("extend"), WORKERS, st.booleans())),
    (1, st.tuples(st.just("promote"))),
    (
        1,
        st.tuples(
            st.just("override"),
            TENANTS,
            st.sampled_from([None, 1.0, 2.5, 4.0]),
            st.none() | st.lists(LIMITS, max_size=2, unique_by=counts),
            st.sampled_from([None, 0, 1, 2]),
            st.sampled_from([None, None, "Asia/Tokyo", "America/New_York"]),
        ),
    ),
    (1, st.tuples(st.just("clear"), TENANTS)),
    (1, st.tuples(st.sampled_from(["pause_tenant", "resume_tenant"]), TENANTS)),
    (2, st.tuples(st.sampled_from(["pause", "resume", "resume"]), st.integers(0, 4))),
    (1, st.tuples(st.just("publish"), st.integers(0, 2))),
    (1, st.tuples(st.just("rehold"), st.booleans())),
    (1, st.tuples(st.just("register"), TENANTS, st.sampled_from([0, 1, 2, None]))),
    (1, st.tuples(st.just("drain_tenant"), TENANTS, st.sampled_from([True, True, False]))),
    (2, st.tuples(st.just("move"), TENANTS, st.integers(0, 2))),
    (1, st.tuples(st.just("reclaim"))),
]


def one_of(verbs: Verbs) -> st.SearchStrategy[Any]:
    """A step of any of these verbs."""
    return st.sampled_from([verb for weight, verb in verbs for _ in range(weight)]).flatmap(lambda verb: verb)


STEP = one_of([*OFTEN, *RARE])

LONG_LINES = st.one_of(
    st.builds(
        lambda tenant, tier, count, kind: ("enqueue", tenant, tier, count, 0, 0, "", False, kind),
        TENANTS,
        st.integers(0, 1),
        st.sampled_from([1, 15, 40]),
        st.sampled_from(["embedding.b", "embedding.long"]),
    ),
    st.tuples(st.just("claim"), WORKERS, st.sampled_from([1, 3, 25])),
)
"""Steps that make long lines of actions of mixed types, and take from them."""


NAMES = st.sampled_from([("gold",), ("gold", "free"), ("gold", "silver", "free")])


@st.composite
def policies(draw: st.DrawFn, names: tuple[str, ...]) -> Policy:
    """These tiers, any shares that fit, any strategies."""
    tiers: dict[str, Any] = {}
    for priority, name in enumerate(names, start=1):
        tiers[name] = {
            "priority": priority,
            "guaranteed_share": draw(st.sampled_from([0.0, 0.05, 0.25, 1 / 3])),
            "weight": draw(st.sampled_from([1.0, 2.0, 3.0])),
            "limits": draw(st.lists(LIMITS, max_size=2, unique_by=counts)),
            "tier_limits": draw(st.sampled_from([[], []]) | st.lists(LIMITS, max_size=2, unique_by=counts)),
            "max_concurrency": draw(st.sampled_from([0, 0, 1, 3])),
            "fair_by": draw(st.sampled_from(["count", "run_time"])),
            "over_limit": draw(st.sampled_from(["hold", "hold", "refuse"])),
            "max_backlog": draw(st.sampled_from([0, 0, 4])),
        }
    limited = draw(st.sampled_from([False, False, False, True]))
    of_domain = [draw(LIMITS)] if limited else []
    named = {
        name: draw(LIMITS) | {"action_types": types}
        for name, types in NAMED.items()
        if draw(st.sampled_from([False, False, True]))
    }
    return Policy.model_validate(
        {
            "limits": named,
            "default_tier": names[-1],
            "unregistered": draw(st.sampled_from(["claimed", "claimed", "default"])),
            "tiers": tiers,
            "domains": {"embedding": of_domain},
            "time_zone": draw(st.sampled_from(["UTC", "Europe/Madrid"])),
        }
    )


@st.composite
def some_policies(draw: st.DrawFn) -> list[Policy]:
    """Up to three different ones of the same tiers, to be published in turn."""
    names = draw(NAMES)
    drawn = draw(st.lists(policies(names), min_size=1, max_size=3))
    found = {policy.compile("embedding").to_json(): policy for policy in drawn}
    return list(found.values())


def refused(refusal: Refusal | None) -> str:
    """As the oracle says it."""
    if refusal is None:
        return ""
    if refusal.reason in (RefusalReason.TIER, RefusalReason.DRAINING):
        return f"!{refusal.reason}"
    if refusal.reason is RefusalReason.BACKLOG:
        return f"!backlog {refusal.amount} {refusal.most}"
    return f"!{refusal.reason} {refusal.retry_after_ms} {refusal.limit}"
