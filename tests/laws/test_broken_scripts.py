"""Laws whose tests stand elsewhere, seen red: each script here is broken in one place, and a test notices."""

from __future__ import annotations

import pytest
from redis.asyncio import Redis

from tests.laws import test_heavy_then_idle as heavy
from tests.laws import test_key_minting as minting
from tests.laws.conftest import Prepare
from tests.laws.mutation import mutated
from tests.scheduler import test_laws as laws


@pytest.mark.parametrize(
    ("sound", "unsound"),
    [
        ("local credit = tier.credit + share\n", "local credit = tier.credit + share / 2\n"),
        ("tier.credit = math.max(tier.credit - given * 1000000, 0)", "tier.credit = 0"),
    ],
)
async def test_tier_law_shares_that_are_not_credited_or_forgotten(
    redis: Redis, sound: str, unsound: str
) -> None:
    with mutated("claim", sound, unsound), pytest.raises(AssertionError):
        await laws.test_tier_law_each_share_within_one_percent_of_a_thousand(redis, (0.3, 0.3, 0.3), 8)


async def test_tier_law_priorities_the_wrong_way_round(redis: Redis) -> None:
    sound, unsound = "if not best then best, best_head", "if true then best, best_head"
    with mutated("claim", sound, unsound), pytest.raises(AssertionError):
        await laws.test_strict_priority_is_a_share_of_nothing(redis)


async def test_tenant_law_a_turn_that_does_not_end(redis: Redis) -> None:
    sound, unsound = "local turn = quantum - taken % quantum", "local turn = starts"
    with mutated("claim", sound, unsound), pytest.raises(AssertionError):
        await laws.test_tenant_law_equal_weights_differ_by_one_quantum(redis, 7)


async def test_no_credit_law_tags_that_are_forgotten_at_once(prepare: Prepare) -> None:
    """Who leaves and comes back would pass who stayed."""
    sound = "entering[#entering + 1] = tag and math.max(virtual_time, tonumber(tag)) or virtual_time"
    unsound = "entering[#entering + 1] = 0"
    with mutated("enqueue", sound, unsound), pytest.raises(AssertionError):
        await heavy.test_a_tenant_that_was_away_is_owed_nothing(prepare)


async def test_no_credit_law_virtual_time_that_stands_still(prepare: Prepare) -> None:
    sound, unsound = "if charged == 0 then return end", "if charged >= 0 then return end"
    with mutated("claim", sound, unsound), pytest.raises(AssertionError):
        await minting.test_ever_new_names_do_not_starve_who_waits(prepare, "aaa", 1.0, 15)
