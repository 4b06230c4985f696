"""The policy file: what is refused, in words that name file, key and the nearest valid key."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from scheduler import Policy, PolicyError, TierPolicy, UnknownTierError
from scheduler.limit_rules import LimitRule
from scheduler.limits import Limit, Strategy

SHIPPED = Path(__file__).parents[2] / "config" / "tiers.toml"
TWO = 'default_tier = "a"\n[tiers.a]\npriority = 1\n[tiers.b]\npriority = 2\n'

REFUSED = {
    "": ["tiers.toml: default_tier", "tiers.toml: tiers", "required"],
    "default_tier": ["tiers.toml: not valid TOML"],
    'default_tier = "a"\n[tiers]': ["tiers"],
    'default_teir = "a"\n' + TWO: ["unknown key 'default_teir', did you mean 'default_tier'?"],
    TWO + "wieght = 2": ["unknown key 'tiers.b.wieght', did you mean 'weight'?"],
    TWO + "zzz = 2": ["unknown key 'tiers.b.zzz'"],
    TWO + '[[tiers.b.limits]]\nrate = "1/day"\nstrategie = "calendar"': [
        "strategie",
        "did you mean 'strategy'?",
    ],
    TWO.replace('"a"', '"aa"'): ["default_tier 'aa' is not a tier, did you mean 'a'?"],
    TWO.replace("priority = 2", "priority = 1"): [
        "tiers.a and tiers.b have the same priority 1; which of them is served first?"
    ],
    TWO.replace("priority = 2", "priority = 0"): [
        "tiers.b.priority: must be at least 1, not 0: 1 is served first"
    ],
    TWO.replace("priority = 2", 'priority = "first"'): ["tiers.b.priority"],
    TWO + "guaranteed_share = 0.6\n[tiers.c]\npriority=3\nguaranteed_share=0.5": [
        "guaranteed_share of all tiers adds up to 1.1; at most 1: b 0.6 + c 0.5"
    ],
    TWO + "guaranteed_share = 1.5": [
        "tiers.b.guaranteed_share: must be at most 1, not 1.5: it is a part of all starts"
    ],
    TWO + "guaranteed_share = nan": ["tiers.b.guaranteed_share"],
    TWO + "guaranteed_share = true": ["tiers.b.guaranteed_share"],
    TWO + "weight = 0": ["tiers.b.weight: must be at least 0.001, not 0: who weighs nothing would never"],
    TWO + "weight = inf": ["tiers.b.weight"],
    TWO + 'weight = "2"': ["tiers.b.weight"],
    TWO + "timeout = 0": ["tiers.b.timeout: must be more than 0, not 0"],
    TWO + "timeout = 90_000": [
        "tiers.b.timeout: must be at most 86400, not 90000: its lease is extended for as long as it runs"
    ],
    TWO + "max_concurrency = -1": ["tiers.b.max_concurrency: must be at least 0, not -1", "pause it"],
    TWO + 'fair_by = "luck"': ["tiers.b.fair_by: unknown fair_by 'luck'; one of count, run_time"],
    TWO + 'fair_by = "runtime"': ["unknown fair_by 'runtime', did you mean 'run_time'?"],
    TWO + 'limits = ["ten per minute"]': ["tiers.b.limits.0.rate", "ten per minute"],
    TWO + 'limits = ["10/fortnight"]': ["tiers.b.limits.0.rate", "10/fortnight"],
    TWO + 'limits = ["1/minute; 2/day"]': ["holds 2 rates; write one per list item"],
    TWO + 'limits = ["0/minute"]': ["would hold every action for ever; pause the tenant instead"],
    TWO + 'limits = "10/minute"': ["tiers.b.limits"],
    TWO + 'limits = ["10/minute", "60/60 seconds"]': [
        "'10/minute' and '60/60 second' count the same starts; keep the smaller one"
    ],
    TWO + '[[tiers.b.limits]]\nrate="1/minute"\nstrategy="magic"': [
        "tiers.b.limits.0.strategy: unknown strategy 'magic'; one of moving-window, fixed-window, "
        "sliding-window-counter, calendar"
    ],
    TWO + '[[tiers.b.limits]]\nrate="1/minute"\nstrategy="fixed_window"': ["did you mean 'fixed-window'?"],
    TWO.replace("tiers.b", "tiers.'b:c'"): ["tiers.'b:c': a name is letters"],
    TWO.replace("tiers.b", "tiers.'b*'"): ["tiers.'b*': a name is letters"],
    TWO + "[tiers.b.domains.'x y']\nweight = 2": ["domains.'x y': a name is letters"],
    TWO + "[tiers.b.domains.x.domains.y]\nweight = 2": ["domains.x: the rules of one domain have no domains"],
    TWO + "[domains]\n'x y' = []": ["domains.'x y': a name is letters"],
    TWO + "[tiers.b.domains.x]\npriority = 1": ["tiers.a and tiers.b have the same priority 1 in domain 'x'"],
    TWO + '[[tiers.b.limits]]\nrate="1/minute"\nstrategy="calendar"': ["needs a day, month or year"],
    TWO + 'limits = ["20000/minute"]': ["at most 10000", "sliding-window-counter"],
    'time_zone = "Madrid"\n' + TWO: ["time_zone", "unknown time zone 'Madrid'", "Europe/Madrid"],
    'time_zone = "../etc/passwd"\n' + TWO: ["unknown time zone"],
    TWO + '[domains]\nembedding = ["0/day"]': ["domains.embedding.0.rate", "pause the tenant"],
    TWO + "[tiers.b.domains.embedding]\nwieght = 2": [
        "tiers.b.domains.embedding",
        "wieght",
        "did you mean 'weight'?",
    ],
    TWO + 'tier_limits = ["0/minute"]': ["tiers.b.tier_limits.0.rate", "would hold every action for ever"],
    TWO + 'tier_limits = ["3/minute", "4/minute"]': ["'3/minute' and '4/minute' count the same starts"],
    TWO + '[limits.x]\nrate = "0/minute"\naction_types = ["a.b"]': ["limits.x.rate", "hold every action"],
    TWO + '[limits.x]\nrate = "1/minute"': ["limits.x.action_types", "required"],
    TWO + '[limits.x]\nrate = "1/minute"\naction_types = []': ["limits.x.action_types", "at least 1"],
    TWO + '[limits.x]\nrate = "1/minute"\naction_types = ["b"]': ["'b' is not an action type"],
    TWO + '[limits.x]\nrate = "1/minute"\naction_types = ["a.b", "c.d"]': ["several domains (a, c)"],
    TWO + '[limits.x]\nrate = "1/minute"\naction_type = ["a.b"]': [
        "unknown key 'limits.x.action_type', did you mean 'action_types'?"
    ],
    TWO + '[limits.tier]\nrate = "1/minute"\naction_types = ["a.b"]': ["'tier' cannot be the name"],
    TWO + "[tiers.b.domains.embedding]\nweight = 0": ["tiers.b.domains.embedding", "weight"],
}


@pytest.mark.parametrize("text", REFUSED)
def test_refused(text: str, tmp_path: Path) -> None:
    file = tmp_path / "tiers.toml"
    file.write_text(text)
    with pytest.raises(PolicyError) as error:
        Policy.load(file)
    for words in (str(file), *REFUSED[text]):
        assert words.replace("tiers.toml: ", "") in str(error.value)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match=r"none\.toml: cannot be read: No such file"):
        Policy.load(tmp_path / "none.toml")


def test_shares_are_added_up_as_they_are_in_a_domain() -> None:
    text = 'default_tier="a"\n[tiers.a]\npriority=1\nguaranteed_share=0.7\n[tiers.b]\npriority=2\n'
    Policy.parse(text)
    with pytest.raises(PolicyError, match=r"adds up to 1\.2 in domain 'embedding'; at most 1: a 0\.7 \+"):
        Policy.parse(text + "[tiers.b.domains.embedding]\nguaranteed_share=0.5\n")


def test_the_shipped_policy() -> None:
    policy = Policy.load(SHIPPED)
    assert policy.names() == ["enterprise", "professional", "advance", "free"]
    assert [policy.tier(name).timeout for name in policy.names()] == [300, 120, 60, 30]
    limits = {name: [rule.rate for rule in policy.tier(name).limits] for name in policy.names()}
    assert limits == {
        "enterprise": [],
        "professional": ["200/minute", "10000/day"],
        "advance": ["50/minute", "1000/day"],
        "free": ["10/minute", "100/day"],
    }


def test_an_unknown_tier() -> None:
    with pytest.raises(UnknownTierError, match="unknown tier 'freee', did you mean 'free'"):
        Policy.load(SHIPPED).tier("freee")


def test_overrides_of_a_domain() -> None:
    policy = Policy.parse(TWO + "weight = 3.0\ntimeout = 9\n[tiers.b.domains.embedding]\nweight = 4\n")
    assert (policy.tier("b").weight, policy.tier("b", "query").weight) == (3, 3)
    assert (policy.tier("b", "embedding").weight, policy.tier("b", "embedding").timeout) == (4, 9)


@pytest.mark.parametrize(
    ("rule", "limit"),
    [
        ("10/minute", Limit("10/minute", Strategy.MOVING_WINDOW, 10, 60_000)),
        ("10 per 5 minute", Limit("10/5 minute", Strategy.MOVING_WINDOW, 10, 300_000)),
        ("7/day", Limit("7/day", Strategy.CALENDAR, 7, 86_400_000, "1 day UTC")),
        ("7/2 month", Limit("7/2 month", Strategy.CALENDAR, 7, 2 * 2_592_000_000, "2 month UTC")),
        (("7/day", "moving-window"), Limit("7/day", Strategy.MOVING_WINDOW, 7, 86_400_000)),
        (("9/hour", "fixed-window"), Limit("9/hour", Strategy.FIXED_WINDOW, 9, 3_600_000)),
    ],
)
def test_limits_compile(rule: str | tuple[str, str], limit: Limit) -> None:
    rate, strategy = (rule, None) if isinstance(rule, str) else rule
    assert LimitRule.model_validate({"rate": rate, "strategy": strategy}).compile("UTC") == limit


def test_what_the_scripts_get() -> None:
    policy = Policy.parse(
        'default_tier="b"\ntime_zone="Europe/Madrid"\n[tiers.b]\npriority=2\nlimits=["5/day"]\n'
        'tier_limits=["8/minute"]\n[tiers.a]\npriority=1\nguaranteed_share=0.333333\nfair_by="run_time"\nmax_concurrency=3\nweight=2\n'
        '[domains]\nembedding=["9/minute"]\n'
        '[limits.openai]\nrate="7/minute"\naction_types=["embedding.generate", "embedding.ask"]\n'
        '[limits.other]\nrate="7/minute"\naction_types=["query.search"]\n'
    )
    assert json.loads(policy.compile("embedding").to_json()) == {
        "version": 0,
        "tiers": [
            {
                "name": "a",
                "share": 333333,
                "weight": 2,
                "limits": [],
                "tier_limits": [],
                "concurrency": 3,
                "by_run_time": True,
            },
            {
                "name": "b",
                "share": 0,
                "weight": 1,
                "limits": [["5/day", "calendar", 5, 86_400_000, "1 day Europe/Madrid", "c1 day"]],
                "tier_limits": [["8/minute", "moving-window", 8, 60_000, "", "m60000"]],
                "concurrency": 0,
                "by_run_time": False,
            },
        ],
        "limits": [["9/minute", "moving-window", 9, 60_000, "", "m60000"]],
        "named": [
            {
                "name": "openai",
                "types": ["embedding.generate", "embedding.ask"],
                "limits": [["7/minute", "moving-window", 7, 60_000, "", "m60000"]],
            }
        ],
        "periods": ["1 day Europe/Madrid"],
    }
    assert json.loads(policy.compile("query").to_json())["limits"] == []


def test_a_tier_by_itself() -> None:
    assert TierPolicy(priority=1).for_domain("any") == TierPolicy(priority=1)


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    file = tmp_path / "tiers.toml"
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(PolicyError, match=r"tiers\.toml: not UTF-8 text"):
        Policy.load(file)


def test_a_tier_is_served_first_in_one_domain() -> None:
    policy = Policy.parse(
        TWO + "[tiers.a.domains.embedding]\npriority = 2\n[tiers.b.domains.embedding]\npriority = 1\n"
    )
    assert [tier.name for tier in policy.compile("query").tiers] == ["a", "b"]
    assert [tier.name for tier in policy.compile("embedding").tiers] == ["b", "a"]
    assert (policy.names(), policy.names("embedding")) == (["a", "b"], ["b", "a"])


def test_several_errors_are_told_at_once() -> None:
    with pytest.raises(PolicyError) as error:
        Policy.parse(TWO + "weight = 0\ntimeout = 0\nwieght = 1\n", source="tiers.toml")
    lines = str(error.value).split("\n")
    assert len(lines) == 3
    assert all(line.startswith("tiers.toml: ") for line in lines)


def test_what_is_too_much() -> None:
    tiers = "".join(f"[tiers.t{number}]\npriority = {number + 1}\n" for number in range(51))
    with pytest.raises(PolicyError, match=r"policy: tiers: .*at most 50"):
        Policy.parse('default_tier = "t0"\n' + tiers)
    with pytest.raises(PolicyError, match="policy: not valid TOML"):
        Policy.parse("a = " + "[" * 100_000)
