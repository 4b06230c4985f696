from __future__ import annotations

import asyncio
from typing import Any

import pytest
import redis.asyncio as redis_asyncio
from pydantic import BaseModel

from nooble_tasks import state
from nooble_tasks.context import ExecutionContext, use_context
from nooble_tasks.errors import InvalidId, MissingTenant, StateConflict, StateModelMismatch
from nooble_tasks.settings import Settings
from nooble_tasks.state import RedisStateManager


class Session(BaseModel):
    user: str
    visits: int = 0
    note: str | None = None


class Other(BaseModel):
    user: str


SETTINGS = Settings(environment="test", service_name="sessions_service")
ACME = ExecutionContext(tenant_id="acme")


@pytest.fixture
def sessions(redis: redis_asyncio.Redis) -> RedisStateManager[Session]:
    return RedisStateManager[Session](redis_conn=redis, state_model=Session, app_settings=SETTINGS)


class TestLoadAndSave:
    async def test_what_was_saved_is_loaded(self, sessions: RedisStateManager[Session]) -> None:
        with use_context(ACME):
            assert await sessions.load_state("user_session:42") is None
            await sessions.save_state("user_session:42", Session(user="ana", visits=3))
            assert await sessions.load_state("user_session:42") == Session(user="ana", visits=3)

    async def test_delete_says_whether_there_was_one(self, sessions: RedisStateManager[Session]) -> None:
        with use_context(ACME):
            await sessions.save_state("k", Session(user="ana"))
            assert await sessions.delete_state("k") is True
            assert await sessions.delete_state("k") is False
            assert await sessions.load_state("k") is None

    async def test_a_state_can_expire(
        self, sessions: RedisStateManager[Session], redis: redis_asyncio.Redis
    ) -> None:
        await sessions.save_state("k", Session(user="ana"), expiration_seconds=3600, tenant_id="acme")
        assert 3590_000 < await redis.pttl("nooble:state:test:acme:k") <= 3600_000
        await sessions.save_state("k", Session(user="ana"), tenant_id="acme")
        assert await redis.pttl("nooble:state:test:acme:k") == -1

    @pytest.mark.parametrize("seconds", [0, -1, True, float("nan"), "5"])
    async def test_an_expiration_must_lie_ahead(
        self, sessions: RedisStateManager[Session], seconds: Any
    ) -> None:
        with pytest.raises(ValueError, match="expiration_seconds"):
            await sessions.save_state("k", Session(user="ana"), seconds, tenant_id="acme")

    async def test_none_and_foreign_models_are_type_errors(
        self, sessions: RedisStateManager[Session]
    ) -> None:
        with pytest.raises(TypeError, match="delete_state"):
            await sessions.save_state("k", None, tenant_id="acme")  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="a state of Session is expected, not Other"):
            await sessions.save_state("k", Other(user="x"), tenant_id="acme")  # type: ignore[arg-type]

    @pytest.mark.parametrize(
        ("stored", "place"),
        [(b'{"visits": 1}', "user"), (b"no json", "the whole value"), (b"[]", "the whole")],
    )
    async def test_what_does_not_fit_the_model_is_a_typed_error(
        self, sessions: RedisStateManager[Session], redis: redis_asyncio.Redis, stored: bytes, place: str
    ) -> None:
        await redis.set("nooble:state:test:acme:k", stored)
        with pytest.raises(StateModelMismatch, match=f"'k' does not fit Session: {place}"):
            await sessions.load_state("k", tenant_id="acme")


class TestKeys:
    async def test_environment_and_tenant_are_in_the_key(
        self, sessions: RedisStateManager[Session], redis: redis_asyncio.Redis
    ) -> None:
        with use_context(ACME):
            await sessions.save_state("user_session:42", Session(user="ana"))
            assert await sessions.load_state("user_session:42", tenant_id="other") is None
        assert await redis.keys("*") == [b"nooble:state:test:acme:user_session:42"]
        production = RedisStateManager(redis, Session, Settings(environment="production"))
        assert await production.load_state("user_session:42", tenant_id="acme") is None

    async def test_without_a_tenant_nothing_is_touched(self, sessions: RedisStateManager[Session]) -> None:
        for call in (
            sessions.load_state("k"),
            sessions.save_state("k", Session(user="x")),
            sessions.delete_state("k"),
            sessions.update_state("k", lambda now: now),
        ):
            with pytest.raises(MissingTenant):
                await call

    @pytest.mark.parametrize("key", ["", " ", "a b", "a\n", "{a}", "a*", "a?", "a[b]", "é", "x" * 513])
    def test_odd_keys_are_refused(self, sessions: RedisStateManager[Session], key: str) -> None:
        with pytest.raises(InvalidId, match="state_key"):
            sessions.redis_key(key, "acme")

    def test_an_explicit_tenant_is_checked(self, sessions: RedisStateManager[Session]) -> None:
        with pytest.raises(InvalidId, match="tenant_id"):
            sessions.redis_key("k", "acme:other")

    async def test_raw_mode_uses_the_key_as_given(self, redis: redis_asyncio.Redis) -> None:
        raw = RedisStateManager(redis, Session, SETTINGS, raw=True)
        await redis.set("legacy key", Session(user="ana").model_dump_json())
        assert await raw.load_state("legacy key") == Session(user="ana")


def visit(session: Session | None) -> Session:
    session = session or Session(user="ana")
    return session.model_copy(update={"visits": session.visits + 1})


class TestUpdate:
    async def test_concurrent_updates_all_count(self, sessions: RedisStateManager[Session]) -> None:
        with use_context(ACME):
            await asyncio.gather(*(sessions.update_state("k", visit) for _ in range(20)))
            assert await sessions.load_state("k") == Session(user="ana", visits=20)

    async def test_a_change_in_between_is_seen_and_the_work_done_anew(
        self, sessions: RedisStateManager[Session], redis: redis_asyncio.Redis
    ) -> None:
        seen: list[int | None] = []

        async def change(session: Session | None) -> Session:
            seen.append(None if session is None else session.visits)
            if len(seen) == 1:  # somebody else is faster
                await sessions.save_state("k", Session(user="ben", visits=7), tenant_id="acme")
            return visit(session)

        assert await sessions.update_state("k", change, tenant_id="acme") == Session(user="ben", visits=8)
        assert seen == [None, 7]

    async def test_the_same_value_written_again_is_no_conflict_but_a_deleted_one_is(
        self, sessions: RedisStateManager[Session]
    ) -> None:
        await sessions.save_state("k", Session(user="ana", visits=1), tenant_id="acme")
        calls = 0

        async def change(session: Session | None) -> Session:
            nonlocal calls
            calls += 1
            if calls == 1:
                await sessions.delete_state("k", tenant_id="acme")
            return visit(session)

        assert (await sessions.update_state("k", change, tenant_id="acme")) == Session(user="ana", visits=1)
        assert calls == 2

    async def test_returning_none_deletes(
        self, sessions: RedisStateManager[Session], redis: redis_asyncio.Redis
    ) -> None:
        await sessions.save_state("k", Session(user="ana"), tenant_id="acme")
        assert await sessions.update_state("k", lambda _: None, tenant_id="acme") is None
        assert await redis.dbsize() == 0
        assert await sessions.update_state("k", lambda _: None, tenant_id="acme") is None

    async def test_the_remaining_life_is_kept_or_set_anew(
        self, sessions: RedisStateManager[Session], redis: redis_asyncio.Redis
    ) -> None:
        key = sessions.redis_key("k", "acme")
        await sessions.save_state("k", Session(user="ana"), 1_000, tenant_id="acme")
        await sessions.update_state("k", visit, tenant_id="acme")
        assert 0 < await redis.pttl(key) <= 1_000_000
        await sessions.update_state("k", visit, 5_000, tenant_id="acme")
        assert await redis.pttl(key) > 1_000_000
        await sessions.delete_state("k", tenant_id="acme")
        await sessions.update_state("k", visit, tenant_id="acme")
        assert await redis.pttl(key) == -1

    async def test_an_error_in_the_change_changes_nothing(self, sessions: RedisStateManager[Session]) -> None:
        await sessions.save_state("k", Session(user="ana"), tenant_id="acme")

        def fail(_: Session | None) -> Session:
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await sessions.update_state("k", fail, tenant_id="acme")
        with pytest.raises(TypeError, match="not Other"):
            await sessions.update_state("k", lambda _: Other(user="x"), tenant_id="acme")  # type: ignore[arg-type, return-value]
        assert await sessions.load_state("k", tenant_id="acme") == Session(user="ana")

    async def test_it_gives_up_when_others_are_always_faster(
        self, sessions: RedisStateManager[Session], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(state, "MAX_UPDATE_ATTEMPTS", 3)
        calls = 0

        async def change(session: Session | None) -> Session:
            nonlocal calls
            calls += 1
            await sessions.save_state("k", Session(user="ben", visits=calls), tenant_id="acme")
            return visit(session)

        with pytest.raises(StateConflict, match="all 3 attempts"):
            await sessions.update_state("k", change, tenant_id="acme")
        assert calls == 3
        assert await sessions.load_state("k", tenant_id="acme") == Session(user="ben", visits=3)
