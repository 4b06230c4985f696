from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from nooble_tasks.actions import DomainAction, DomainActionResponse
from nooble_tasks.errors import (
    InvalidAction,
    InvalidId,
    InvalidTime,
    PayloadNotSerializable,
    PayloadTooDeep,
    PayloadTooLarge,
)
from nooble_tasks.payload import PayloadLimits

MINIMAL = {"action_type": "embedding.generate", "tenant_id": "acme"}
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda children: st.lists(children, max_size=4) | st.dictionaries(texts, children, max_size=4),
    max_leaves=15,
)


def make(**fields: Any) -> DomainAction:
    return DomainAction(**{**MINIMAL, **fields})


class TestWire:
    @given(json_values, st.dictionaries(texts, json_values, max_size=3))
    def test_what_is_sent_arrives(self, data: Any, metadata: dict[str, Any]) -> None:
        sent = make(
            data=data,
            metadata=metadata,
            deadline=datetime.now(UTC) + timedelta(seconds=30),
            callback_queue_name="nooble:{query}:callback:x",
        )
        received = DomainAction.from_json(sent.to_json())
        assert received == sent

    def test_text_is_read_as_well_as_bytes(self) -> None:
        action = make(data={"t": "ünï"})
        assert DomainAction.from_json(action.to_json().decode()) == action

    def test_fields_of_newer_senders_are_ignored(self) -> None:
        raw = json.dumps({**MINIMAL, "from_the_future": 1}).encode()
        assert DomainAction.from_json(raw).tenant_id == "acme"

    def test_absent_fields_are_left_out_but_not_inside_the_data(self) -> None:
        sent = json.loads(make(data={"n": None}).to_json())
        assert "session_id" not in sent
        assert sent["data"] == {"n": None}

    @pytest.mark.parametrize(
        ("raw", "error", "message"),
        [
            (b"", InvalidAction, "not valid JSON"),
            (b"[]", InvalidAction, "object"),
            (b"{", InvalidAction, "not valid JSON"),
            (b"\xff", InvalidAction, "not valid JSON"),
            (b'{"action_type":"a.b"}', InvalidAction, "tenant_id is missing"),
            (b'{"action_type":"a.b","tenant_id":"a:b"}', InvalidId, "tenant_id 'a:b'"),
            (b'{"action_type":"nooble.b","tenant_id":"a"}', InvalidId, "reserved"),
            (b'{"action_type":"a.b","tenant_id":"a","deadline":5}', InvalidTime, "deadline"),
            (b'{"action_type":"a.b","tenant_id":"a","data":NaN}', PayloadNotSerializable, "NaN"),
            (b'{"action_type":"a.b","tenant_id":"a","data":"\\ud800"}', InvalidAction, "not valid JSON"),
        ],
    )
    def test_malformed_messages_get_a_typed_error(self, raw: bytes, error: type, message: str) -> None:
        with pytest.raises(error, match=message):
            DomainAction.from_json(raw)

    @given(st.binary(max_size=100))
    def test_no_bytes_whatever_raise_anything_else(self, raw: bytes) -> None:
        with pytest.raises(InvalidAction):
            DomainAction.from_json(raw)

    @pytest.mark.parametrize("depth", [65, 199, 201, 100_000])
    def test_deep_nesting_is_refused_on_both_ways(self, depth: int) -> None:
        nested = b"[" * depth + b"]" * depth
        with pytest.raises(PayloadTooDeep, match="more than 64 levels"):
            DomainAction.from_json(b'{"action_type":"a.b","tenant_id":"a","data":' + nested + b"}")
        value: Any = []
        for _ in range(depth - 1):
            value = [value]
        with pytest.raises(PayloadTooDeep):
            make(data=value).to_json()

    def test_the_depth_limit_is_about_a_fields_value(self) -> None:
        value: Any = []
        for _ in range(63):
            value = [value]
        assert DomainAction.from_json(make(data=value).to_json()).data == value

    def test_the_size_limit_counts_the_whole_message(self) -> None:
        action = make(data={"text": "x" * 500})
        size = len(action.to_json())
        assert action.to_json(PayloadLimits(max_bytes=size))
        with pytest.raises(PayloadTooLarge):
            action.to_json(PayloadLimits(max_bytes=size - 1))
        with pytest.raises(PayloadTooLarge):
            DomainAction.from_json(action.to_json(), PayloadLimits(max_bytes=size - 1))
        with pytest.raises(PayloadTooLarge, match="1,048,576"):
            make(data={"text": "x" * 1_048_576}).to_json()

    @pytest.mark.parametrize(
        ("value", "message"),
        [
            (math.nan, r"data\.items\[3\]\.when is nan"),
            (math.inf, r"data\.items\[3\]\.when is inf"),
            ("\ud800", r"data\.items\[3\]\.when holds a lone surrogate"),
            (10**5000, r"data\.items\[3\]\.when has too many digits"),
            (object(), r"data\.items\[3\]\.when is a builtins\.object"),
        ],
        ids=["nan", "inf", "surrogate", "huge", "object"],
    )
    def test_what_json_cannot_carry_is_refused_with_its_place(self, value: object, message: str) -> None:
        with pytest.raises(PayloadNotSerializable, match=message):
            make(data={"items": [1, 2, 3, {"when": value}]}).to_json()

    def test_nan_inside_a_model_is_refused_not_turned_into_null(self) -> None:
        class Score(BaseModel):
            value: float

        with pytest.raises(PayloadNotSerializable, match=r"data\.value is nan"):
            make(data=Score(value=math.nan)).to_json()
        response = DomainActionResponse.succeeded(make(), Score(value=math.nan))
        with pytest.raises(PayloadNotSerializable, match=r"data\.value is nan"):
            response.to_json()

    def test_the_words_nan_and_infinity_may_be_said(self) -> None:
        action = make(data={"NaN": 'Infinity, and beyond \\ " NaN'})
        assert DomainAction.from_json(action.to_json()) == action

    @pytest.mark.parametrize("digits", [4_300, 4_301])
    def test_a_number_too_long_to_be_read_is_not_written(self, digits: int) -> None:
        number = 10 ** (digits - 1)
        for padding in range(0, 900, 97):  # wherever the number stands
            action = make(data={"text": "x" * padding, "n": number, "digits": "7" * 9_000})
            if digits <= 4_300:
                assert DomainAction.from_json(action.to_json()) == action
            else:
                with pytest.raises(PayloadNotSerializable, match=r"data\.n has too many digits"):
                    action.to_json()
                raw = b'{"action_type":"a.b","tenant_id":"a","data":[%s' % (b" " * padding)
                with pytest.raises(PayloadNotSerializable, match="4,300 digits"):
                    DomainAction.from_json(raw + b"1" * digits + b"]}")

    def test_what_is_put_into_the_data_later_is_still_checked(self) -> None:
        action = make(data={"a": 1})
        action.data["b"] = object()
        with pytest.raises(PayloadNotSerializable, match=r"data\.b is a builtins\.object"):
            action.to_json()
