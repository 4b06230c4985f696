"""What handlers get besides their data: parameters are filled by their type.

class ShopService(BaseService):
    @provides
    async def database(self) -> AsyncIterator[Database]:
        async with connect(self.app_settings.database_url) as database:
            yield database

    @handles("shop.order.place")
    async def place(self, data: Order, database: Database, state: RedisStateManager[Cart]) -> Receipt: ...
"""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import redis.asyncio as redis_asyncio

from .client import BaseRedisClient
from .errors import ConfigurationError
from .settings import CommonAppSettings
from .state import RedisStateManager

if TYPE_CHECKING:
    from .service import BaseService

Method = TypeVar("Method", bound=Callable[..., Any])
Source = Callable[["BaseService"], Any]
"""Gives the value for one parameter of a service's handlers."""

MARK = "__nooble_provides__"
_GENERATORS = (AsyncIterator, AsyncGenerator, Iterator, Generator)


def provides(method: Method) -> Method:
    """Declare a method whose value handlers can ask for by its return type.

    It is called once when the worker starts: a plain or async function returns the value; a generator yields
    it, and goes on when the worker stops. Providers start in their order and stop in reverse.
    """
    setattr(method, MARK, True)
    return method


def providers_of(cls: type[BaseService]) -> dict[Any, str]:
    """Types that this class itself provides → the method's name."""
    found: dict[Any, str] = {}
    for name, member in vars(cls).items():
        if not getattr(member, MARK, False):
            continue
        kind = _provided_type(cls, name, member)
        if kind in found:
            raise ConfigurationError(f"{cls.__name__} has two providers of {name_of(kind)}")
        found[kind] = name
    return found


@asynccontextmanager
async def started(service: BaseService, providers: dict[Any, str]) -> AsyncIterator[dict[Any, Any]]:
    """The values of all providers of a service, as long as the block lasts."""
    stack = AsyncExitStack()
    values: dict[Any, Any] = {}
    try:
        for kind, name in providers.items():
            values[kind] = await _enter(stack, getattr(service, name))
        yield values
    finally:
        await stack.aclose()  # whatever ended the block, a generator goes on after its `yield`


def source_for(hint: Any, providers: dict[Any, str]) -> Source | None:
    """Where the value of a parameter of this type comes from; None when it is nothing known."""
    kind = _bare(hint)
    if kind in providers:
        return lambda service: service.provided(kind)
    origin = typing.get_origin(kind) or kind
    if origin is RedisStateManager:
        return lambda service: service.made(kind, lambda: _state(service, kind))
    if not isinstance(origin, type):
        return None
    if issubclass(origin, BaseRedisClient):
        return lambda service: service.made(origin, lambda: _client(service, origin))
    if issubclass(origin, redis_asyncio.Redis):
        return _connection
    if issubclass(origin, CommonAppSettings):
        return lambda service: _settings(service, origin)
    return None


def known_types(providers: dict[Any, str]) -> list[str]:
    """What a handler's parameters may be, for messages."""
    fixed = ("DomainAction", "ExecutionContext", "CancelToken")
    made = ("BaseRedisClient", "RedisStateManager", "Redis", "CommonAppSettings")
    return [*fixed, *made, *map(name_of, providers)]


def name_of(kind: Any) -> str:
    """A type's name for messages."""
    return getattr(kind, "__name__", None) or str(kind)


def _bare(hint: Any) -> Any:
    """`X` for `X | None`."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        rest = [each for each in typing.get_args(hint) if each is not type(None)]
        return rest[0] if len(rest) == 1 else hint
    return hint


def _provided_type(cls: type[BaseService], name: str, member: Any) -> Any:
    try:
        kind = typing.get_type_hints(member).get("return")
    except NameError as error:
        raise ConfigurationError(
            f"{cls.__name__}.{name}: the annotation {error.name!r} cannot be found when the class is made; "
            "import it outside of TYPE_CHECKING"
        ) from error
    if inspect.isasyncgenfunction(member) or inspect.isgeneratorfunction(member):
        given = typing.get_args(kind)
        kind = given[0] if typing.get_origin(kind) in _GENERATORS and given else None
    if kind is None or kind is type(None) or kind is Any:
        raise ConfigurationError(
            f"{cls.__name__}.{name} provides something, and its return annotation must say what: a type, or "
            "AsyncIterator[<type>] for a generator"
        )
    return kind


async def _enter(stack: AsyncExitStack, method: Callable[[], Any]) -> Any:
    if inspect.isasyncgenfunction(method):
        return await stack.enter_async_context(asynccontextmanager(method)())
    if inspect.isgeneratorfunction(method):
        return stack.enter_context(contextmanager(method)())
    value = method()
    return await value if inspect.isawaitable(value) else value


def _connection(service: BaseService) -> Any:
    if service.direct_redis_conn is not None:
        return service.direct_redis_conn
    return _any_client(service).redis_client


def _any_client(service: BaseService) -> BaseRedisClient:
    client = service.service_redis_client
    if not isinstance(client, BaseRedisClient):
        raise ConfigurationError(
            f"a handler of {type(service).__name__} asks for a client or a connection, and the service has "
            "none: give it service_redis_client="
        )
    return client


def _client(service: BaseService, kind: type[BaseRedisClient]) -> BaseRedisClient:
    own = service.service_redis_client
    if isinstance(own, kind):
        return own
    return kind(service.app_settings.service_name, _connection(service), service.app_settings)


def _state(service: BaseService, kind: Any) -> RedisStateManager[Any]:
    models = typing.get_args(kind)
    if not models:
        raise ConfigurationError("a RedisStateManager parameter needs its model: RedisStateManager[Cart]")
    return RedisStateManager(_connection(service), models[0], service.app_settings)


def _settings(service: BaseService, kind: type[CommonAppSettings]) -> CommonAppSettings:
    if isinstance(service.app_settings, kind):
        return service.app_settings
    raise ConfigurationError(
        f"a handler of {type(service).__name__} asks for {kind.__name__}, and its settings are "
        f"{type(service.app_settings).__name__}; set settings_class = {kind.__name__}"
    )
