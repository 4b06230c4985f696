"""Parameters of handlers are filled by their type."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import redis.asyncio as redis_asyncio
from pydantic import BaseModel
from redis.asyncio import Redis

from nooble_tasks import (
    BaseRedisClient,
    BaseService,
    CancelToken,
    CommonAppSettings,
    ConfigurationError,
    DomainAction,
    ExecutionContext,
    RedisStateManager,
    handles,
    provides,
)
from tests.nooble_tasks.support import action, make_client, settings_for, working


class Cart(BaseModel):
    items: list[str] = []


class Database:
    def __init__(self) -> None:
        self.open = True


class Clock:
    pass


class Mailer:
    pass


class StockClient(BaseRedisClient):
    pass


class ShopService(BaseService):
    def __init__(self, **options: Any) -> None:
        super().__init__(app_settings=settings_for(), **options)
        self.said: list[str] = []
        self.database: Database | None = None

    @provides
    async def opened(self) -> AsyncIterator[Database]:
        self.said.append("open database")
        self.database = Database()
        yield self.database
        self.said.append("close database")

    @provides
    def clock(self) -> Iterator[Clock]:
        self.said.append("start clock")
        yield Clock()
        self.said.append("stop clock")

    @provides
    async def mailer(self) -> Mailer:
        return Mailer()

    @handles("probe.everything")
    async def everything(
        self,
        data: Cart,
        context: ExecutionContext,
        asked: DomainAction,
        token: CancelToken,
        client: BaseRedisClient,
        stock: StockClient,
        state: RedisStateManager[Cart],
        connection: redis_asyncio.Redis,
        settings: CommonAppSettings,
        database: Database,
        clock: Clock | None,
        mailer: Mailer,
    ) -> list[str]:
        given = [context, asked, token, client, stock, state, connection, settings, database, clock, mailer]
        await state.save_state("cart", data, 60)
        assert await state.load_state("cart") == data
        assert database.open
        return [type(each).__name__ for each in given]

    @handles("probe.plain")
    def plain(self, data: int, database: Database) -> bool:
        return database.open


async def test_everything_a_handler_can_ask_for_by_type(redis: Redis, client: BaseRedisClient) -> None:
    service = ShopService(service_redis_client=make_client(redis), direct_redis_conn=redis)
    async with working(redis, service):
        given = (await client.request(action("everything", {"items": ["a"]}), 10)).data
        assert (await client.request(action("plain", 1), 10)).data is True
        assert service.said == ["open database", "start clock"]
    assert given == [
        *("ExecutionContext", "DomainAction", "CancelToken", "BaseRedisClient", "StockClient"),
        *("RedisStateManager", "Redis", "CommonAppSettings", "Database", "Clock", "Mailer"),
    ]
    assert service.said == ["open database", "start clock", "stop clock", "close database"]


async def test_providers_also_work_without_a_worker() -> None:
    service = ShopService()
    with pytest.raises(ConfigurationError, match="has no Database yet"):
        await service.process_action(action("plain", 1))
    async with service.providing():
        assert await service.process_action(action("plain", 1)) is True
    service.pools.threads.close()


async def test_a_provider_that_fails_ends_those_before_it(redis: Redis) -> None:
    from nooble_tasks import BaseWorker

    class Failing(ShopService):
        @provides
        async def broken(self) -> AsyncIterator[float]:
            raise RuntimeError("no disk")
            yield 1.0

    service = Failing()
    with pytest.raises(RuntimeError, match="no disk"):
        await BaseWorker(settings_for(), redis, service).run()
    assert service.said == ["open database", "start clock", "stop clock", "close database"]


async def test_what_a_service_does_not_have_is_told() -> None:
    service = ShopService()
    async with service.providing():
        with pytest.raises(ConfigurationError, match="give it service_redis_client="):
            await service.process_action(action("everything", {}))


def test_a_parameter_nothing_can_fill_is_named_with_the_nearest() -> None:
    class Databaze:
        pass

    globals()["Databaze"] = Databaze
    with pytest.raises(ConfigurationError, match=r"'db' \(Databaze\).*did you mean 'Database'\?"):

        class Strange(ShopService):
            @handles("probe.x")
            async def x(self, data: Cart, db: Databaze) -> None: ...


def test_what_a_provider_gives_must_be_said() -> None:
    with pytest.raises(ConfigurationError, match="its return annotation must say what"):

        class Silent(BaseService):
            @provides
            async def something(self):  # type: ignore[no-untyped-def]
                return 1

    with pytest.raises(ConfigurationError, match="Twice has two providers of int"):

        class Twice(BaseService):
            @provides
            def one(self) -> int:
                return 1

            @provides
            async def two(self) -> AsyncIterator[int]:
                yield 2


def test_the_parameter_called_data_gets_the_data() -> None:
    with pytest.raises(ConfigurationError, match=r"'first' \(int\)"):

        class Strange(BaseService):
            @handles("probe.x")
            async def x(self, first: int, data: Cart) -> None: ...
