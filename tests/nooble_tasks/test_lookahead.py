"""How many actions are claimed ahead: from what turns and handlers took, without a clock."""

from __future__ import annotations

import pytest

from nooble_tasks.lookahead import LONGEST_TURN_S, Lookahead

SLOTS = 10


def learned(run_s: float, turn_s: float, slots: int = SLOTS, attempts: int = 1_000) -> Lookahead:
    lookahead = Lookahead(slots)
    for _ in range(attempts):
        lookahead.turned(turn_s)
        lookahead.ended(run_s)
    return lookahead


@pytest.mark.parametrize(
    ("run_s", "turn_s", "most"),
    [
        (0.002, 0.001, 10),  # two turns' worth, and never more than there are slots
        (0.004, 0.001, 5),
        (0.008, 0.001, 3),
        (0.011, 0.001, 0),  # longer than a few turns: exactly what fits
        (5.0, 0.001, 0),
        (0.0, 0.001, 10),
        (0.002, LONGEST_TURN_S * 1.1, 0),  # it would wait here for too long
    ],
)
def test_two_turns_worth_of_short_handlers(run_s: float, turn_s: float, most: int) -> None:
    assert learned(run_s, turn_s).most == most


def test_nothing_before_some_attempts_have_ended() -> None:
    assert Lookahead(SLOTS).most == 0
    assert learned(0.002, 0.001, attempts=39).most == 0
    assert learned(0.002, 0.001, attempts=40).most > 0


def test_one_slot_claims_one_action() -> None:
    assert learned(0.002, 0.001, slots=1).most == 0


def test_a_few_long_ones_among_many_short_ones_end_it() -> None:
    lookahead = learned(0.002, 0.001)
    lookahead.ended(5.0)
    assert lookahead.most == 0


def test_it_comes_back_when_handlers_are_short_again() -> None:
    lookahead = learned(5.0, 0.001)
    for _ in range(300):
        lookahead.ended(0.002)
    assert lookahead.most == SLOTS


def test_a_misjudgement_is_learned_from() -> None:
    lookahead = learned(0.002, 0.001)
    lookahead.misjudged()
    assert lookahead.most == 0
    for _ in range(40):
        lookahead.ended(0.002)
    assert lookahead.most == SLOTS
