"""A result is written without its response's model, and all the same as that would write or refuse it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field

from nooble_tasks import DomainAction, DomainActionResponse, ids
from nooble_tasks.actions import success_json
from nooble_tasks.errors import InvalidId, NoobleError
from nooble_tasks.payload import DEFAULT_LIMITS, PayloadLimits


class _Out(BaseModel):
    model_config = ConfigDict(serialize_by_alias=True)
    inner: int | None = Field(None, serialization_alias="innerValue")


@pytest.mark.parametrize(
    "data",
    [
        None,
        0,
        "",
        "NaN",
        'Infinity "\\\n\x00 ü',
        [],
        {"a": [1, 2.5, None, True]},
        [[[]]],
        _Out(),
        "x" * 500,
        {"id": UUID(int=1), "at": datetime(2026, 1, 1, tzinfo=UTC)},
    ],
)
@pytest.mark.parametrize("correlation_id", [None, "c-1"])
def test_a_result_is_written_as_its_model_would(data: Any, correlation_id: str | None) -> None:
    action = DomainAction(action_type="a.b", tenant_id="acme", correlation_id=correlation_id)
    run: dict[str, Any] = {"attempt": 2, "queue_time_ms": 7, "run_time_ms": 0.021}
    raw = success_json(action, data, DEFAULT_LIMITS, **run)
    written = DomainActionResponse.succeeded(action, data, **run).to_json()
    assert {"data": None, **json.loads(written)} == json.loads(raw)


@pytest.mark.parametrize(
    "data",
    [[[[]]], {"a": {"b": {"c": {}}}}, math.nan, [math.inf], [10**5000], "x" * 2000, object()],
    ids=lambda data: type(data).__name__,
)
def test_a_result_is_refused_as_its_model_would_be(data: Any) -> None:
    action, limits = DomainAction(action_type="a.b", tenant_id="acme"), PayloadLimits(1_000, 2)
    with pytest.raises(NoobleError) as refused:
        success_json(action, data, limits, attempt=1, queue_time_ms=0, run_time_ms=1.0)
    model = DomainActionResponse.succeeded(action, data, attempt=1, queue_time_ms=0, run_time_ms=1.0)
    with pytest.raises(NoobleError) as by_model:
        model.to_json(limits)
    assert type(refused.value) is type(by_model.value)


@given(
    st.one_of(
        st.from_regex(r"\A[nobleax0\-_.]{1,12}\Z"),
        st.from_regex(r"\Anooble[a-z0-9_.\-]{0,4}\Z"),
        st.from_regex(r"\A[a-z][a-z0-9_\-]{0,8}(\.[a-z][a-z0-9_\-]{0,8}){0,5}\Z"),
    )
)
def test_a_model_takes_the_action_types_that_the_check_takes(action_type: str) -> None:
    assert _refused(_model_of, action_type) == _refused(ids.check_action_type, action_type)


def _refused(take: Callable[[str], object], action_type: str) -> str:
    try:
        take(action_type)
    except InvalidId as error:
        return str(error)
    return ""


def _model_of(action_type: str) -> DomainAction:
    return DomainAction(action_type=action_type, tenant_id="acme")
