from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from nooble_tasks.errors import InvalidAction, PayloadNotSerializable, PayloadTooDeep, PayloadTooLarge
from nooble_tasks.payload import PayloadLimits, check_document, plain, refuse_value

texts = st.text(st.characters(exclude_categories=["Cs"]))  # lone surrogates have their own test
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda children: st.lists(children, max_size=4) | st.dictionaries(texts, children, max_size=4),
    max_leaves=30,
)


def depth_of(value: Any) -> int:
    """The plain, recursive meaning of depth, to compare the fast count with."""
    if isinstance(value, dict):
        return 1 + max(map(depth_of, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(depth_of, value), default=0)
    return 0


class TestDepth:
    @given(json_values, st.integers(1, 8))
    def test_the_count_agrees_with_its_meaning(self, value: Any, limit: int) -> None:
        raw = json.dumps({"data": value}, ensure_ascii=False).encode()
        if depth_of(value) > limit:
            with pytest.raises(PayloadTooDeep):
                check_document(raw, PayloadLimits(max_depth=limit))
        else:
            check_document(raw, PayloadLimits(max_depth=limit))

    @given(st.text('[]{}"\\ a', max_size=60))
    def test_brackets_in_strings_do_not_count(self, text: str) -> None:
        check_document(json.dumps({"data": [text] * 50}).encode(), PayloadLimits(max_depth=1))

    @given(st.integers(1, 100), st.sampled_from([0, 10_000]))
    def test_the_limit_is_exact(self, depth: int, letters: int) -> None:
        raw = b'{"data":' + b"[" * depth + b'"' + b"x" * letters + b'"' + b"]" * depth + b"}"
        check_document(raw, PayloadLimits(max_depth=depth))
        with pytest.raises(PayloadTooDeep, match=f"more than {depth - 1} levels"):
            check_document(raw, PayloadLimits(max_depth=depth - 1))

    def test_wide_is_not_deep(self) -> None:
        check_document(json.dumps({"data": [[]] * 10_000}).encode(), PayloadLimits(max_depth=2))

    @pytest.mark.parametrize(
        "raw", [b'{"data":' + b"[" * 500_000, b'{"a":' * 100_000, b"]" * 1_000 + b"[" * 9]
    )
    def test_hostile_nesting_is_settled_without_recursion(self, raw: bytes) -> None:
        try:
            check_document(raw)
        except PayloadTooDeep:
            return
        assert raw.startswith(b"]"), "nonsense is left to the parser, but nesting is not"


class TestSize:
    def test_the_limit_is_exact_and_named(self) -> None:
        check_document(b"x" * 100, PayloadLimits(max_bytes=100))
        with pytest.raises(PayloadTooLarge, match=r"101 bytes, more than 100; .*payload_max_bytes") as caught:
            check_document(b"x" * 101, PayloadLimits(max_bytes=100))
        assert caught.value.details == {"bytes": 101, "max_bytes": 100}


class TestNumbers:
    @pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", '{"a": [1, NaN]}'])
    def test_numbers_that_json_does_not_have_are_refused(self, text: str) -> None:
        with pytest.raises(PayloadNotSerializable, match="NaN or Infinity"):
            check_document(f'{{"data": {text}}}'.encode())

    @pytest.mark.parametrize("text", ["NaN", "Infinity beyond", 'say "NaN"', "\\NaN"])
    def test_their_names_in_text_are_fine(self, text: str) -> None:
        check_document(json.dumps({"data": text, text: 1}).encode())


class Address(BaseModel):
    street: str
    extra: Any = None


class TestPlain:
    @given(json_values)
    def test_json_values_stay_what_they_are(self, value: Any) -> None:
        assert plain(value) == value

    def test_common_types_become_what_pydantic_writes(self) -> None:
        moment = datetime(2026, 1, 2, tzinfo=UTC)
        uuid = UUID(int=7)
        made = plain({"a": Address(street="x"), "when": moment, "id": uuid, "tags": {"t"}, "pair": (1, 2)})
        assert made == {
            "a": {"street": "x", "extra": None},
            "when": "2026-01-02T00:00:00Z",
            "id": str(uuid),
            "tags": ["t"],
            "pair": [1, 2],
        }

    def test_the_result_is_detached_from_the_callers_objects(self) -> None:
        mine = {"items": [1]}
        made = plain(mine)
        mine["items"].append(2)
        assert made == {"items": [1]}

    @pytest.mark.parametrize(
        ("value", "message"),
        [
            ({"items": [0, 1, 2, {"when": object()}]}, r"^data\.items\[3\]\.when is a builtins\.object"),
            ({"a b": [object()]}, r"^data\['a b'\]\[0\] is a builtins\.object"),
            ({"a": Address(street="x", extra=object())}, r"^data\.a\.extra is a builtins\.object"),
            ({"raw": b"\xff"}, r"^data\.raw is a builtins\.bytes"),
            ({"k\udfff": 1}, r"^data has a key that holds a lone surrogate"),
        ],
    )
    def test_the_error_names_the_type_and_the_place(self, value: Any, message: str) -> None:
        with pytest.raises(PayloadNotSerializable, match=message):
            plain(value)

    def test_a_value_that_contains_itself_is_refused(self) -> None:
        endless: list[Any] = []
        endless.append(endless)
        with pytest.raises(PayloadTooDeep, match="contains itself"):
            plain(endless)

    def test_python_nesting_far_beyond_the_limit_is_refused(self) -> None:
        value: Any = 1
        for _ in range(50_000):
            value = [value]
        with pytest.raises(PayloadTooDeep):
            plain(value)


class TestRefuseValue:
    @pytest.mark.parametrize(
        ("value", "message"),
        [
            ([1.0, math.nan], r"data\[1\] is nan, which JSON does not have"),
            ({"x": -math.inf}, r"data\.x is -inf"),
            ([10**5000], r"data\[0\] has too many digits"),
            ({"t": "ab\ud800"}, r"data\.t holds a lone surrogate at position 2"),
        ],
        ids=["nan", "inf", "huge", "surrogate"],
    )
    def test_it_finds_the_culprit(self, value: Any, message: str) -> None:
        with pytest.raises(PayloadNotSerializable, match=message):
            refuse_value({"data": value}, ValueError("?"))

    def test_without_a_culprit_the_cause_is_told(self) -> None:
        with pytest.raises(InvalidAction, match="cannot be written as JSON: odd"):
            refuse_value({"data": {"fine": [1]}}, ValueError("odd"))
