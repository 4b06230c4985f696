from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from freezegun import freeze_time

from nooble_tasks.actions import DomainAction
from nooble_tasks.context import ExecutionContext, current_context, current_tenant_id, use_context
from nooble_tasks.errors import InvalidId, InvalidTime, MissingTenant

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def action(**fields: object) -> DomainAction:
    given = {"action_type": "embedding.generate", "tenant_id": "acme", **fields}
    return DomainAction(**given)


class TestMaking:
    def test_ids_are_checked(self) -> None:
        for field in ("tenant_id", "tier", "session_id", "agent_id", "trace_id"):
            with pytest.raises(InvalidId, match=f"^{field} "):
                ExecutionContext(**{"tenant_id": "acme", field: "a:b"})  # type: ignore[arg-type]
        with pytest.raises(InvalidTime, match="deadline"):
            ExecutionContext(tenant_id="acme", deadline=datetime(2026, 1, 1))  # noqa: DTZ001

    def test_it_cannot_be_changed(self) -> None:
        with pytest.raises(AttributeError):
            ExecutionContext(tenant_id="acme").tenant_id = "other"  # type: ignore[misc]

    def test_an_action_gives_its_context(self) -> None:
        sent = action(
            tenant_tier="free",
            session_id="s",
            task_id="t",
            correlation_id="c",
            deadline=NOON,
            metadata={
                "agent_id": "agent-1",
                "conversation_id": "not an id",
                "collection_id": 5,
                "other": "x",
            },
        )
        context = ExecutionContext.from_action(sent, attempt=3)
        assert context.to_dict() == {
            "tenant_id": "acme",
            "tier": "free",
            "session_id": "s",
            "task_id": "t",
            "agent_id": "agent-1",
            "trace_id": sent.trace_id,
            "correlation_id": "c",
            "action_id": sent.action_id,
            "action_type": "embedding.generate",
            "deadline": "2026-03-01T12:00:00+00:00",
            "attempt": 3,
        }

    def test_the_earlier_deadline_wins(self) -> None:
        later = NOON + timedelta(seconds=5)
        assert ExecutionContext.from_action(action(deadline=later), deadline=NOON).deadline == NOON
        assert ExecutionContext.from_action(action(deadline=NOON), deadline=later).deadline == NOON
        assert ExecutionContext.from_action(action(), deadline=NOON).deadline == NOON


class TestRemaining:
    def test_seconds_left(self) -> None:
        context = ExecutionContext(tenant_id="acme", deadline=NOON)
        assert context.remaining_s(NOON - timedelta(seconds=1.5)) == 1.5
        assert context.remaining_s(NOON + timedelta(seconds=1)) == 0.0
        assert ExecutionContext(tenant_id="acme").remaining_s(NOON) is None
        with freeze_time(NOON - timedelta(seconds=7)):
            assert context.remaining_s() == 7.0


class TestCurrent:
    def test_the_former_context_comes_back(self) -> None:
        one, two = ExecutionContext(tenant_id="one"), ExecutionContext(tenant_id="two")
        assert current_context() is None
        with use_context(one):
            with use_context(two):
                assert current_context() is two
            assert current_context() is one
        assert current_context() is None

    def test_it_comes_back_after_an_error_too(self) -> None:
        with pytest.raises(ZeroDivisionError), use_context(ExecutionContext(tenant_id="one")):
            raise ZeroDivisionError
        assert current_context() is None

    async def test_tasks_keep_the_context_they_were_started_in(self) -> None:
        both_inside = asyncio.Barrier(2)

        async def run(tenant: str) -> str:
            with use_context(ExecutionContext(tenant_id=tenant)):
                await both_inside.wait()
                return current_tenant_id()

        assert list(await asyncio.gather(run("one"), run("two"))) == ["one", "two"]

    def test_the_tenant_is_explicit_or_current_or_missing(self) -> None:
        with use_context(ExecutionContext(tenant_id="one")):
            assert current_tenant_id() == "one"
            assert current_tenant_id("two") == "two"
            with pytest.raises(InvalidId):
                current_tenant_id("a:b")
        with pytest.raises(MissingTenant, match="tenant_id="):
            current_tenant_id()


class TestInherit:
    context = ExecutionContext(
        tenant_id="acme",
        tier="free",
        session_id="s",
        task_id="t",
        agent_id="a",
        trace_id="trace",
        deadline=NOON,
    )

    def test_what_an_action_leaves_open_is_filled_in(self) -> None:
        nested = self.context.inherit(action())
        assert (nested.session_id, nested.task_id, nested.trace_id) == ("s", "t", "trace")
        assert (nested.tenant_tier, nested.deadline) == ("free", NOON)
        assert nested.metadata == {"agent_id": "a"}
        assert ExecutionContext.from_action(nested).agent_id == "a"

    def test_what_it_says_itself_stays(self) -> None:
        sooner = NOON - timedelta(seconds=1)
        sent = action(
            session_id="mine",
            trace_id="my-trace",
            tenant_tier="pro",
            deadline=sooner,
            metadata={"agent_id": "b"},
        )
        nested = self.context.inherit(sent)
        assert (nested.session_id, nested.trace_id, nested.tenant_tier) == ("mine", "my-trace", "pro")
        assert nested.deadline == sooner
        assert nested.metadata == {"agent_id": "b"}

    def test_the_deadline_never_grows(self) -> None:
        assert self.context.inherit(action(deadline=NOON + timedelta(hours=1))).deadline == NOON

    def test_another_tenant_does_not_get_this_ones_tier(self) -> None:
        nested = self.context.inherit(action(tenant_id="other"))
        assert nested.tenant_tier is None
        assert nested.trace_id == "trace"

    def test_the_given_action_is_left_alone(self) -> None:
        sent = action()
        before = sent.model_copy(deep=True)
        assert self.context.inherit(sent) is not sent
        assert sent == before
