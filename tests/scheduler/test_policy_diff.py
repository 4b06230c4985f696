"""What two policies say differently, key by key."""

from __future__ import annotations

from typing import Any

import pytest

from scheduler import Policy
from scheduler.policy_diff import PolicyChange, diff

BASE = """
default_tier = "free"
[tiers.gold]
priority = 1
timeout = 60
[tiers.gold.domains.query]
timeout = 10
[tiers.free]
priority = 2
limits = ["10/minute"]
[domains]
query = ["500/second"]
"""

CASES: dict[str, tuple[tuple[str, str], list[Any]]] = {
    "nothing": (("", ""), []),
    "only how it is written": (("timeout = 60", "timeout = 60.0 # a minute"), []),
    "a default that is said": (("priority = 1", "priority = 1\nweight = 1"), []),
    "a key": (("timeout = 60", "timeout = 90"), [("", "gold", "timeout", 60, 90)]),
    "a limit": (("10/minute", "20/minute"), [("", "free", "limits", ["10/minute"], ["20/minute"])]),
    "a strategy": (
        ('["10/minute"]', '[{ rate = "10/minute", strategy = "fixed-window" }]'),
        [("", "free", "limits", ["10/minute"], [{"rate": "10/minute", "strategy": "fixed-window"}])],
    ),
    "in one domain": (("timeout = 10", "timeout = 20"), [("query", "gold", "timeout", 10, 20)]),
    "no more an exception": (
        ("[tiers.gold.domains.query]\ntimeout = 10\n", ""),
        [("query", "gold", "timeout", 10, 60)],
    ),
    "of a domain": (("500/second", "400/second"), [("query", "", "limits", ["500/second"], ["400/second"])]),
    "of a domain no more": (
        ('query = ["500/second"]', ""),
        [("query", "", "limits", ["500/second"], None)],
    ),
    "top level": (
        ('default_tier = "free"', 'default_tier = "gold"\ntime_zone = "Europe/Madrid"'),
        [("", "", "default_tier", "free", "gold"), ("", "", "time_zone", "UTC", "Europe/Madrid")],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_changes(case: str) -> None:
    (old, new), expected = CASES[case]
    found = diff(Policy.parse(BASE), Policy.parse(BASE.replace(old, new)))
    assert found.empty == (not expected)
    assert found == ([], [], [PolicyChange(*change) for change in expected])


def test_a_change_everywhere_is_told_of_a_domain_only_where_it_is_another() -> None:
    new = BASE.replace("timeout = 60", "timeout = 90").replace("timeout = 10", "timeout = 20\nweight = 2")
    assert diff(Policy.parse(BASE), Policy.parse(new)).changes == [
        PolicyChange("", "gold", "timeout", 60, 90),
        PolicyChange("query", "gold", "weight", 1, 2),
        PolicyChange("query", "gold", "timeout", 10, 20),
    ]


def test_tiers_come_and_go() -> None:
    new = BASE.replace("tiers.gold", "tiers.platinum")
    found = diff(Policy.parse(BASE), Policy.parse(new))
    assert (found.added, found.removed) == (["platinum"], ["gold"])
    assert found.changes == [
        PolicyChange("", "platinum", "priority", None, 1),
        PolicyChange("", "platinum", "timeout", None, 60),
        PolicyChange("query", "platinum", "timeout", None, 10),
    ]


def test_in_place_of_nothing() -> None:
    found = diff(None, Policy.parse(BASE))
    assert found.added == ["gold", "free"]
    assert PolicyChange("", "free", "limits", None, ["10/minute"]) in found.changes
    assert PolicyChange("query", "", "limits", None, ["500/second"]) in found.changes
