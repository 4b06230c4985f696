from __future__ import annotations

import copy
import json
import pickle
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nooble_tasks import delivery_errors, errors, lookup_errors, refusals, signals
from nooble_tasks.error_detail import ErrorDetail
from nooble_tasks.error_mapping import detail_from_exception, error_from_detail
from nooble_tasks.errors import (
    ActionError,
    ActionFailed,
    ActionTimeout,
    InvalidAction,
    InvalidId,
    InvalidTime,
    NoobleError,
    RateLimited,
    UnknownAction,
    UnknownDomain,
    UnknownTier,
)
from nooble_tasks.lookup_errors import ActionNotFound, UnknownActionType, UnknownTenant
from nooble_tasks.signals import Backpressure, Reject, Retry, Snooze
from nooble_tasks.times import aware, delay_seconds

SHOWN = {
    errors.__name__,
    signals.__name__,
    lookup_errors.__name__,
    delivery_errors.__name__,
    refusals.__name__,
}


def tree(cls: type[NoobleError] = NoobleError) -> Iterator[type[NoobleError]]:
    yield cls
    for child in cls.__subclasses__():
        if child.__module__.startswith("nooble_tasks"):
            yield from tree(child)


EXAMPLES: dict[type[NoobleError], NoobleError] = {
    InvalidId: InvalidId("tenant_id", "a:b", "no colon"),
    UnknownTier: UnknownTier("fre", ["free", "enterprise"]),
    UnknownDomain: UnknownDomain("embeding", ["embedding"]),
    UnknownTenant: UnknownTenant("acmee", ["embedding"], ["acme"]),
    UnknownActionType: UnknownActionType("a.bb", ["embedding"], ["a.b"]),
    ActionNotFound: ActionNotFound("a1", ["embedding"]),
    UnknownAction: UnknownAction("a.b", ["a.c"]),
    Snooze: Snooze(2),
    Backpressure: Backpressure(5, "tenant"),
    RateLimited: RateLimited(retry_after_s=3.5),
}


class TestTree:
    def test_the_drawing_shows_every_class_below_its_parent(self) -> None:
        drawing = errors.__doc__ or ""
        drawn: dict[str, str | None] = {}
        parents: list[tuple[int, str]] = []
        for line in drawing.splitlines():
            match = re.match(r"^(\s+[│├└─\s]*)([A-Z]\w+)", line)
            if match is None:
                continue
            indent, name = len(match[1]), match[2]
            while parents and parents[-1][0] >= indent:
                parents.pop()
            drawn[name] = parents[-1][1] if parents else None
            parents.append((indent, name))
        library = {cls for cls in tree() if cls.__module__ in SHOWN}
        assert set(drawn) == {cls.__name__ for cls in library}
        for cls in library - {NoobleError}:
            assert drawn[cls.__name__] == cls.__bases__[0].__name__

    def test_every_code_is_its_own(self) -> None:
        codes = [cls.code for cls in tree()]
        assert len(codes) == len(set(codes))

    def test_the_docstring_is_the_default_message(self) -> None:
        assert str(ActionTimeout()) == ActionTimeout.__doc__
        assert str(errors.LeaseLost()) == errors.LeaseLost.__doc__
        assert ActionTimeout("no answer in 3 s").message == "no answer in 3 s"

    @pytest.mark.parametrize("cls", list(tree()), ids=lambda cls: cls.__name__)
    def test_every_error_survives_pickling_and_copying(self, cls: type[NoobleError]) -> None:
        error = EXAMPLES.get(cls) or cls()
        for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
            assert type(twin) is cls
            assert (str(twin), twin.details) == (str(error), error.details)

    def test_refusals_are_value_errors_so_that_plain_code_catches_them(self) -> None:
        assert issubclass(InvalidAction, ValueError)
        assert issubclass(errors.NotInitialized, RuntimeError)

    def test_messages_suggest_the_nearest_name(self) -> None:
        assert "did you mean 'free'?" in str(UnknownTier("fre", ["free", "enterprise"]))
        assert "the tiers are enterprise, free" in str(UnknownTier("gold", ["free", "enterprise"]))
        assert "did you mean" not in str(UnknownTier("gold", ["free"]))
        assert "this service handles nothing" in str(UnknownAction("a.b"))


class TestErrorDetail:
    def test_it_reads_like_the_dictionary_it_travels_as(self) -> None:
        detail = ErrorDetail(type="ValueError", code="bad", message="no such agent", details={"id": 3})
        assert str(detail) == "no such agent"
        assert detail["message"] == "no such agent"
        assert detail.get("code") == "bad"
        assert detail.get("nothing", 1) == 1
        assert detail.to_dict() == {
            "type": "ValueError",
            "code": "bad",
            "message": "no such agent",
            "details": {"id": 3},
            "retryable": False,
        }
        assert ErrorDetail.model_validate_json(json.dumps(detail.to_dict())) == detail
        with pytest.raises(KeyError):
            detail["to_dict"]


class TestMapping:
    @pytest.mark.parametrize(
        "cls", [cls for cls in tree(ActionError) if cls is not ActionFailed], ids=lambda cls: cls.__name__
    )
    def test_what_a_caller_meets_comes_back_as_its_class(self, cls: type[ActionError]) -> None:
        sent = EXAMPLES.get(cls) or cls("because", details={"limit": "10/minute"})
        received = error_from_detail(detail_from_exception(sent))
        assert type(received) is cls
        assert (str(received), received.details) == (str(sent), sent.details)
        assert detail_from_exception(received) == detail_from_exception(sent)

    def test_rate_limited_knows_when_to_come_back(self) -> None:
        received = error_from_detail(detail_from_exception(RateLimited(retry_after_s=3.5)), action_id="a1")
        assert isinstance(received, RateLimited)
        assert received.retry_after_s == 3.5
        assert received.action_id == "a1"

    def test_a_handlers_exception_is_a_failed_action_with_the_original_inside(self) -> None:
        detail = detail_from_exception(KeyError("agent_id"))
        assert (detail.type, detail.code, detail.retryable) == ("KeyError", "handler_error", False)
        received = error_from_detail(detail, action_id="a1")
        assert isinstance(received, ActionFailed)
        assert received.action_id == "a1"
        assert received.detail == detail
        assert "KeyError" in str(received)

    def test_a_refusal_at_the_worker_is_a_failed_action_for_the_caller(self) -> None:
        received = error_from_detail(detail_from_exception(UnknownAction("a.b", ["a.c"])))
        assert isinstance(received, ActionFailed)
        assert received.detail is not None
        assert received.detail.code == "unknown_action"

    def test_network_faults_may_be_tried_again(self) -> None:
        assert detail_from_exception(ConnectionResetError("gone")).retryable
        assert detail_from_exception(TimeoutError()).retryable
        assert not detail_from_exception(TimeoutError(), retryable=False).retryable

    def test_an_error_can_always_be_told_whatever_it_holds(self) -> None:
        class MuteError(Exception):
            def __str__(self) -> str:
                raise RuntimeError("no words")

        endless: dict[str, object] = {}
        endless["self"] = endless
        for error in (
            MuteError(),
            ValueError("x" * 100_000),
            ValueError("\ud800"),
            Reject("no", details={"what": object(), "nan": float("nan"), "set": {1}}),
            Reject("no", details={"text": "\ud800"}),
            Reject("no", details=endless),
        ):
            detail = detail_from_exception(error)
            assert json.loads(json.dumps(detail.to_dict(), allow_nan=False)) == detail.to_dict()
            assert len(detail.message) <= 2_001
            detail.model_dump_json().encode()


class TestSignals:
    def test_delays_are_seconds_or_timedeltas(self) -> None:
        assert Retry().delay_s is None
        assert Retry(0).delay_s == 0.0
        assert Retry(timedelta(minutes=1)).delay_s == 60.0
        assert Snooze(1.5, "later").delay_s == 1.5
        assert str(Snooze(1.5, "later")) == "later"

    @pytest.mark.parametrize(
        "delay", [-1, -0.001, float("nan"), float("inf"), timedelta(seconds=-1), True, "5"]
    )
    def test_a_delay_that_is_none_is_refused(self, delay: float) -> None:
        for signal in (Retry, Snooze, Backpressure):
            with pytest.raises(InvalidTime):
                signal(delay)

    def test_backpressure_until_a_moment_or_for_seconds(self) -> None:
        until = datetime(2026, 1, 1, tzinfo=UTC)
        assert Backpressure(until).until_ms(0) == int(until.timestamp() * 1000)
        assert Backpressure(2.5, "domain").until_ms(1_000) == 3_500
        assert Backpressure(1).scope == "tenant"
        with pytest.raises(InvalidTime, match="no time zone"):
            Backpressure(datetime(2026, 1, 1))  # noqa: DTZ001
        with pytest.raises(InvalidAction, match="neither tenant, tier, domain nor"):
            Backpressure(1, "no name")

    @given(st.floats(0, 1e9))
    def test_seconds_pass_unchanged(self, seconds: float) -> None:
        assert delay_seconds(seconds) == seconds

    def test_aware_wants_a_time_zone(self) -> None:
        now = datetime.now(UTC)
        assert aware(now) is now
        with pytest.raises(InvalidTime, match="not str"):
            aware("2026-01-01", "deadline")  # type: ignore[arg-type]
