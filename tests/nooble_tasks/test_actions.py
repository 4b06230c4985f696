from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from enum import StrEnum
from typing import Any

import pytest
from freezegun import freeze_time
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, ValidationError

from nooble_tasks.actions import DomainAction, DomainActionResponse, ErrorDetail
from nooble_tasks.errors import (
    InvalidAction,
    InvalidId,
    InvalidResponse,
    InvalidTime,
)
from nooble_tasks.ids import is_id

MINIMAL = {"action_type": "embedding.generate", "tenant_id": "acme"}
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda children: st.lists(children, max_size=4) | st.dictionaries(texts, children, max_size=4),
    max_leaves=15,
)


class Tier(StrEnum):
    free = "free"


class Request(BaseModel):
    texts: list[str]
    limit: int | None = 5
    kind: str = Field("plain", alias="type")


def make(**fields: Any) -> DomainAction:
    return DomainAction(**{**MINIMAL, **fields})


class TestMaking:
    def test_the_smallest_action_has_ids_of_its_own(self) -> None:
        one, other = make(), make()
        assert is_id(one.action_id)
        assert len(one.action_id) == 32
        assert one.action_id != other.action_id
        assert one.trace_id != other.trace_id
        assert one.data == {}
        assert one.deadline is None

    def test_created_at_is_now_with_a_time_zone(self) -> None:
        with freeze_time("2026-03-01 12:00:00"):
            assert make().created_at == datetime(2026, 3, 1, 12, tzinfo=UTC)

    @pytest.mark.parametrize(
        ("target", "domain"),
        [(None, "embedding"), ("query_service", "query"), ("agent_management_service", "agent_management")],
    )
    def test_the_domain_is_the_target_services_else_the_types(self, target: str | None, domain: str) -> None:
        assert make(target_service=target).domain == domain

    def test_callback_queue_is_another_name_for_the_same_field(self) -> None:
        old = DomainAction(**MINIMAL, callback_queue="nooble:query:callback:x")
        assert old.callback_queue_name == old.callback_queue == "nooble:query:callback:x"
        assert make(callback_queue_name="q").callback_queue == "q"
        with pytest.raises(AttributeError):
            old.callback_queue = "other"  # type: ignore[misc]

    def test_data_may_be_a_model_and_keeps_what_its_receiver_reads(self) -> None:
        request = Request(texts=["a"], limit=None, type="x")
        action = make(data=request)
        assert action.data == {"texts": ["a"], "limit": None, "type": "x"}
        received = DomainAction.from_json(action.to_json())
        assert Request.model_validate(received.data) == request

    def test_models_deep_inside_are_written_too(self) -> None:
        action = make(
            data={"requests": [Request(texts=["a"], limit=None)]}, metadata={"by": Request(texts=[])}
        )
        received = DomainAction.from_json(action.to_json())
        assert received.data["requests"][0]["limit"] is None
        assert received.metadata["by"]["type"] == "plain"

    def test_data_of_none_is_an_empty_dictionary_on_both_sides(self) -> None:
        action = make(data=None)
        assert action.data == {}
        assert DomainAction.from_json(action.to_json()).data == {}

    def test_later_changes_of_the_callers_objects_do_not_reach_the_action(self) -> None:
        data = {"items": [1]}
        action = make(data=data)
        data["items"].append(2)
        assert action.data == {"items": [1]}

    def test_an_enum_of_text_is_an_id(self) -> None:
        assert make(tenant_tier=Tier.free).tenant_tier == "free"

    def test_times_given_as_text_are_read(self) -> None:
        action = make(deadline="2026-01-01T00:00:00+02:00")
        assert action.deadline == datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=2)))


class TestRefusing:
    @pytest.mark.parametrize(
        "field",
        [
            *("action_id", "tenant_id", "tenant_tier", "session_id", "task_id", "origin_service"),
            *("target_service", "correlation_id", "trace_id", "idempotency_key", "unique_key"),
        ],
    )
    @pytest.mark.parametrize("value", ["a:b", "a b", "{a}", "a*", "a\n", "", "é", "a" * 129, 5, b"a"])
    def test_every_id_field_refuses_what_is_no_id(self, field: str, value: object) -> None:
        with pytest.raises(InvalidId, match=f"^{field} "):
            make(**{field: value})

    @pytest.mark.parametrize("field", ["action_type", "callback_action_type"])
    @pytest.mark.parametrize("value", ["embedding", "Embedding.x", "nooble.x", "a.b.c.d.e.f", "a.b\n", 5])
    def test_action_types_are_checked(self, field: str, value: object) -> None:
        with pytest.raises(InvalidId, match=f"^{field} "):
            make(**{field: value})

    @pytest.mark.parametrize("value", ["a b", "", "a\n", "x" * 513])
    def test_a_callback_queue_is_the_name_of_a_list(self, value: str) -> None:
        with pytest.raises(InvalidId, match="callback_queue_name"):
            make(callback_queue_name=value)

    @pytest.mark.parametrize("field", ["deadline", "created_at"])
    @pytest.mark.parametrize("value", [datetime(2026, 1, 1), 30, 30.5, "soon", "2026-01-01T00:00:00"])  # noqa: DTZ001
    def test_times_need_a_time_zone(self, field: str, value: object) -> None:
        with pytest.raises(InvalidTime, match=f"^{field} "):
            make(**{field: value})

    def test_a_missing_field_is_named(self) -> None:
        with pytest.raises(InvalidAction, match=r"^tenant_id is missing"):
            DomainAction(action_type="a.b")  # type: ignore[call-arg]

    def test_a_typo_is_refused_with_the_nearest_name(self) -> None:
        with pytest.raises(InvalidAction, match=r"no field 'tenat_id'; did you mean 'tenant_id'\?"):
            DomainAction(action_type="a.b", tenat_id="acme")  # type: ignore[call-arg]

    def test_metadata_is_a_dictionary(self) -> None:
        with pytest.raises(InvalidAction, match=r"^metadata: "):
            make(metadata=[1])

    def test_assignments_are_checked_like_the_constructor(self) -> None:
        action = make()
        action.correlation_id = "c1"
        with pytest.raises(InvalidId, match="tenant_id"):
            action.tenant_id = "a:b"
        with pytest.raises(InvalidAction, match="did you mean 'tenant_id'"):
            action.tenat_id = "a"  # type: ignore[attr-defined]
        with pytest.raises(InvalidId):
            action.model_copy(update={"session_id": "a b"})
        assert action.model_copy(update={"session_id": "s"}).session_id == "s"
        assert action.session_id is None


class TestResponse:
    def test_it_answers_its_action(self) -> None:
        action = make(correlation_id="c1", session_id="s1")
        response = DomainActionResponse.succeeded(action, {"n": 1}, attempt=2, run_time_ms=1.5)
        received = DomainActionResponse.from_json(response.to_json())
        assert received == response
        assert (received.action_id, received.tenant_id) == (action.action_id, "acme")
        assert (received.correlation_id, received.trace_id) == ("c1", action.trace_id)
        assert (received.success, received.data, received.error, received.attempt) == (
            True,
            {"n": 1},
            None,
            2,
        )

    @pytest.mark.parametrize("data", [None, 0, False, "", [], {}, [None], {"a": None}, 1.5, "text"])
    def test_any_json_value_comes_back_as_itself(self, data: Any) -> None:
        received = DomainActionResponse.from_json(DomainActionResponse(success=True, data=data).to_json())
        assert received.data == data
        assert type(received.data) is type(data)

    def test_a_model_stays_one_here_and_is_read_back_there(self) -> None:
        request = Request(texts=["a"], limit=None)
        response = DomainActionResponse.succeeded(make(), request)
        assert response.data is request
        assert response.data_as(Request) is request
        received = DomainActionResponse.from_json(response.to_json())
        assert received.data == {"texts": ["a"], "limit": None, "type": "plain"}
        assert received.data_as(Request) == request
        assert DomainActionResponse(success=True, data=["1"]).data_as(list[int]) == [1]
        with pytest.raises(ValidationError):
            DomainActionResponse(success=True, data={"no": 1}).data_as(Request)

    def test_an_error_is_there_exactly_when_it_failed(self) -> None:
        error = ErrorDetail(message="no")
        with pytest.raises(InvalidResponse, match="needs an error"):
            DomainActionResponse(success=False)
        with pytest.raises(InvalidResponse, match="has no error"):
            DomainActionResponse(success=True, error=error)
        with pytest.raises(InvalidResponse, match="needs an error"):
            DomainActionResponse.from_json(b'{"success":false}')
        failed = DomainActionResponse.failed(make(), error)
        assert str(failed.error) == "no"
        with pytest.raises(InvalidResponse):
            failed.success = True

    def test_an_error_may_be_given_as_its_dictionary(self) -> None:
        response = DomainActionResponse(success=False, error={"message": "no", "code": "x"})
        assert response.error is not None
        assert response.error["code"] == "x"

    def test_fields_of_newer_workers_are_ignored(self) -> None:
        assert DomainActionResponse.from_json(b'{"success":true,"from_the_future":1}').success

    def test_a_typo_and_a_bad_id_are_refused(self) -> None:
        with pytest.raises(InvalidResponse, match="did you mean 'success'"):
            DomainActionResponse(sucess=True)  # type: ignore[call-arg]
        with pytest.raises(InvalidId, match="tenant_id"):
            DomainActionResponse(success=True, tenant_id="a:b")

    @given(st.binary(max_size=60))
    def test_foreign_bytes_are_an_invalid_response(self, raw: bytes) -> None:
        with pytest.raises((InvalidResponse, InvalidAction)):
            DomainActionResponse.from_json(raw)
