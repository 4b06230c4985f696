"""The splitter: nothing is lost, bounds are kept, cuts fall where a reader would pause."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ingestion.splitter import Passage, split

# Text that looks like text: words, sentence ends, lines, paragraphs, and now and then an enormous word.
PIECES = st.one_of(
    st.text(alphabet="abcdeéñ漢", min_size=1, max_size=12),
    st.sampled_from(
        [" ", ". ", "! ", ".\n", "\n", "\n\n", " \n \n", "。", '." ', "\t", "\u2003", "\x1c", "x" * 130]
    ),
)
TEXTS = st.one_of(st.lists(PIECES, max_size=400).map("".join), st.text(max_size=600))
SIZES = st.tuples(st.integers(1, 80), st.integers(0, 60), st.integers(0, 100)).map(
    lambda s: {"target": s[0], "maximum": s[0] + s[1], "overlap": s[2] * ((s[0] - 1) // 2) // 100}
)


def covered(text: str, passages: list[Passage]) -> set[int]:
    return {position for passage in passages for position in range(passage.start, passage.end)}


@given(TEXTS, SIZES)
def test_no_character_is_lost(text: str, sizes: dict[str, int]) -> None:
    inside = covered(text, split(text, **sizes))
    assert [p for p in range(len(text)) if p not in inside and not text[p].isspace()] == []


@given(TEXTS, SIZES)
def test_bounds_are_kept(text: str, sizes: dict[str, int]) -> None:
    passages = split(text, **sizes)
    assert [p.number for p in passages] == list(range(len(passages)))
    for passage in passages:
        assert passage.text == text[passage.start : passage.end]
        assert 1 <= len(passage.text) <= sizes["maximum"]
        assert passage.text == passage.text.strip()
    for before, after in pairwise(passages):
        assert after.end > before.end, "every passage brings something new"
        assert after.start > before.start
        assert before.end - after.start <= sizes["overlap"]


@given(TEXTS)
def test_without_overlap_nothing_is_repeated(text: str) -> None:
    passages = split(text, target=40, maximum=60, overlap=0)
    assert sum(len(p.text) for p in passages) == len(covered(text, passages))


def test_short_text_is_one_passage_without_its_margins() -> None:
    assert split("  \n one line \n") == [Passage(0, 4, 12, "one line")]


@pytest.mark.parametrize("text", ["", "   \n\t "])
def test_nothing_to_say_gives_nothing(text: str) -> None:
    assert split(text) == []


def test_a_paragraph_end_is_preferred_to_a_sentence_end() -> None:
    text = "First paragraph.\n\nNext paragraph begins. It goes on for a while longer than that one did."
    first, *_ = split(text, target=30, maximum=60, overlap=0)
    assert first.text == "First paragraph."


def test_a_sentence_end_is_preferred_to_a_word_end() -> None:
    text = (
        "One two three four five. Six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen."
    )
    first, *_ = split(text, target=20, maximum=40, overlap=0)
    assert first.text == "One two three four five."


def test_the_overlap_repeats_a_whole_sentence() -> None:
    text = (
        "A long opening sentence that fills it. Short end. And then the text continues with some more words."
    )
    first, second, *_ = split(text, target=45, maximum=52, overlap=20)
    assert first.text.endswith("Short end.")
    assert second.text.startswith("Short end. And then")


def test_an_enormous_word_is_cut_at_the_limit() -> None:
    assert [len(p.text) for p in split("y" * 250, target=100, maximum=100, overlap=0)] == [100, 100, 50]


def test_a_sentence_mark_just_behind_the_limit_does_not_count() -> None:
    text = "字" * 40 + "。" + "字" * 30
    assert [len(p.text) for p in split(text, target=40, maximum=40, overlap=0)] == [40, 31]


@pytest.mark.parametrize("sizes", [{"target": 0}, {"target": 900}, {"overlap": -1}, {"overlap": 300}])
def test_impossible_sizes_are_refused(sizes: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="overlap < target <= maximum"):
        split("text", **sizes)
