"""Short and long ways through `enqueue`, `claim` and `finish` cannot be told apart, whatever happened before.

Random histories are told to two databases: one runs the scripts as they are, the other one the same without
their short ways. After every step the replies and all that is stored must be alike. NOOBLE_TEST_NIGHTLY=1
runs many and long ones; ``--hypothesis-seed`` repeats a run.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from scheduler import Policy
from tests.scheduler import histories
from tests.scheduler.histories import NUMBER, TENANTS, WORKERS, Verbs, one_of
from tests.scheduler.twin_history import History
from tests.scheduler.twins import VERBS, Twins
from tests.scheduler.world import DAY, MINUTE

NIGHTLY = os.environ.get("NOOBLE_TEST_NIGHTLY") == "1"
EXAMPLES, STEPS = (3_000, 60) if NIGHTLY else (60, 40)

TIERS = ["0", "0", "1", "2", "", "~0", "~1", "~gone", "gone", 'gold","silver', 'gold"']

USUAL: Verbs = [
    (
        12,
        st.tuples(
            st.just("one"),
            st.sampled_from(["a", "a", "b"]),
            st.sampled_from(["0", "0", "0", *TIERS]),
            st.sampled_from([0, 0, 0, 0, 0, 500, MINUTE]),  # due in
            st.sampled_from([0, 0, 0, 0, 1, 700, 2 * MINUTE]),  # deadline in
            st.sampled_from(["", "*", "c1", "c1"]),  # who is told
            st.sampled_from([""] * 9 + ["u1"]),
            st.sampled_from([0, 0, 1, 1, 2, 10]),  # slots to claim it with
        ),
    ),
    (8, st.tuples(st.just("claim"), WORKERS, st.sampled_from([1, 1, 2, 3, 10, 0]))),
    (4, st.tuples(st.just("complete"), NUMBER, st.sampled_from([0, 9, 20_000]), st.booleans())),
    (2, st.tuples(st.just("complete_and_claim"), NUMBER, st.sampled_from([1, 2, 5]))),
]
STRANGE = st.sampled_from(
    ["junk", "copy", "junk", "copy", "xdel", "del", "trim", "set", "hash", "disown", "forget"]
)

TIME: Verbs = [
    (1, st.tuples(st.just("calm"))),
    (3, st.tuples(st.just("advance"), st.sampled_from([1, 1_000, MINUTE, DAY, -3, -2_000]))),
]
MORE: Verbs = [
    (2, st.tuples(st.just("strange"), TENANTS, st.integers(0, 2), STRANGE)),
    (1, st.tuples(st.just("adopt"), NUMBER)),
    (2, st.tuples(st.just("cancel_running"), NUMBER)),
    (1, st.tuples(st.just("other_process"), st.integers(0, 2))),
    (1, st.tuples(st.just("schedule"), TENANTS, st.sampled_from([1, 60]))),
    (1, st.tuples(st.just("fire"))),
    (1, st.tuples(st.just("redrive"))),
]
"""What the oracle does not know."""

SCENES = st.tuples(
    st.sampled_from(
        ["cancelled_and_again", "overridden", "crowded", "beside_a_stranger", "under_another_policy"]
    ),
    NUMBER,
)
"""Steps that meet more than one thing that a short way has to look for."""

ALL_RARE = one_of([*histories.RARE, *MORE])
STEP = one_of(USUAL) | one_of(USUAL) | one_of(TIME) | ALL_RARE | SCENES
HISTORY = st.lists(STEP, min_size=STEPS, max_size=STEPS) | st.lists(
    one_of([*USUAL, *histories.OFTEN]) | ALL_RARE, min_size=STEPS, max_size=STEPS
)


@st.composite
def quiet_policies(draw: st.DrawFn, names: tuple[str, ...]) -> Policy:
    """Those under which short ways can be gone: no limits but tenants' own."""
    tiers = {
        name: {
            "priority": priority,
            "guaranteed_share": draw(st.sampled_from([0.0, 0.05, 1 / 3])),
            "weight": draw(st.sampled_from([1.0, 1.0, 2.5, 3.0])),
            "limits": draw(st.just([]) | st.lists(histories.LIMITS, max_size=2, unique_by=histories.counts)),
            "max_concurrency": draw(st.sampled_from([0, 0, 0, 0, 1])),
            "fair_by": draw(st.sampled_from(["count", "count", "count", "run_time"])),
        }
        for priority, name in enumerate(names, start=1)
    }
    unregistered = draw(st.sampled_from(["claimed", "default"]))
    return Policy.model_validate({"default_tier": names[-1], "unregistered": unregistered, "tiers": tiers})


@st.composite
def some_policies(draw: st.DrawFn) -> list[Policy]:
    names = draw(histories.NAMES)
    quiet = quiet_policies(names)
    return draw(st.lists(quiet | quiet | histories.policies(names), min_size=1, max_size=3))


async def _run(url: str, policies: list[Policy], steps: list[tuple[Any, ...]], short: Counter[str]) -> None:
    more: dict[str, Any] = {"protocol": 2, "socket_timeout": 10, "retry": Retry(NoBackoff(), 0)}
    async with Twins.from_url(url, **more) as twins, Redis.from_url(url, **more) as other:
        other.connection_pool.connection_kwargs["db"] = 1
        await twins.begin(other)
        await History(twins, policies).run(steps)
        short.update(await twins.went_short())
        await other.flushdb()


@pytest.mark.timeout(7200 if NIGHTLY else 120)
def test_no_way_can_be_told_from_the_other(redis_url: str) -> None:
    short: Counter[str] = Counter()

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        suppress_health_check=[
            HealthCheck.too_slow,
            HealthCheck.data_too_large,
            HealthCheck.large_base_example,
        ],
    )
    @given(policies=some_policies(), steps=HISTORY)
    def same(policies: list[Policy], steps: list[tuple[Any, ...]]) -> None:
        asyncio.run(_run(redis_url, policies, steps, short))

    same()
    assert all(short[verb] > EXAMPLES // 4 for verb in VERBS), short
