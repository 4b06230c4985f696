"""What a business service is: a class whose methods handle actions.

class GreetingService(BaseService):
    @handles("greeting.say")
    async def say(self, data: Greeting) -> str:
        return f"hello {data.name}"
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, ClassVar, TypeVar, cast

from .actions import DomainAction
from .errors import ConfigurationError, UnknownAction
from .handlers import Handler, HandlerOptions, handles, make_handler, options_of
from .ids import check_domain
from .logs import get_logger
from .middleware import Handle, WorkerMiddleware, chained
from .pools import Pools
from .providers import name_of, providers_of, provides, started
from .retry import RetryPolicy
from .retry_budget import RetryBudget
from .settings import CommonAppSettings

T = TypeVar("T")


class BaseService:
    """Base of business services. The default `process_action` dispatches to `@handles` methods.

    Overriding `process_action` works too. `middleware` runs around every attempt, the first one
    outermost. Attributes: `app_settings`, `service_redis_client` (to talk to
    other services), `direct_redis_conn`, `_logger`.
    """

    settings_class: ClassVar[type[CommonAppSettings]] = CommonAppSettings
    retry_policy: ClassVar[RetryPolicy] = RetryPolicy()
    retry_budget: ClassVar[RetryBudget | None] = RetryBudget()
    middleware: ClassVar[Sequence[WorkerMiddleware]] = ()
    _handlers: ClassVar[dict[str, Handler]] = {}
    _providers: ClassVar[dict[Any, str]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._providers = {**cls._providers, **providers_of(cls)}
        handlers = dict(cls._handlers)
        own: set[str] = set()
        for name, member in list(vars(cls).items()):
            options = options_of(member)
            if options is None:
                continue
            if options.action_type in own:
                raise ConfigurationError(f"{cls.__name__} has two handlers of {options.action_type}")
            own.add(options.action_type)
            handlers[options.action_type] = make_handler(cls, name, member, options)
        cls._handlers = handlers

    def __init__(
        self,
        *,
        app_settings: CommonAppSettings,
        service_redis_client: Any = None,
        direct_redis_conn: Any = None,
    ) -> None:
        self.app_settings = app_settings
        self.service_redis_client = service_redis_client
        self.direct_redis_conn = direct_redis_conn
        self._logger: logging.Logger = get_logger(app_settings.service_name)
        self._pools: Pools | None = None
        self._provided: dict[Any, Any] = {}
        self._made: dict[Any, Any] = {}

    @asynccontextmanager
    async def providing(self) -> AsyncIterator[None]:
        """What the `@provides` methods give is there as long as the block lasts; workers do this."""
        async with started(self, self._providers) as values:
            self._provided = values
            try:
                yield
            finally:
                self._provided = {}

    def provided(self, kind: Any) -> Any:
        """What a `@provides` method gave. Raises ConfigurationError while nothing runs."""
        try:
            return self._provided[kind]
        except KeyError:
            raise ConfigurationError(
                f"{type(self).__name__} has no {name_of(kind)} yet: it is there while a worker runs, or "
                "inside `async with service.providing()`"
            ) from None

    def made(self, kind: Any, make: Callable[[], T]) -> T:
        """What is made once for all handlers that ask for it."""
        if kind not in self._made:
            self._made[kind] = make()
        return cast("T", self._made[kind])

    @property
    def pools(self) -> Pools:
        """Where plain functions run: its worker's threads and processes."""
        if self._pools is None:
            self._pools = Pools(self.app_settings)
        return self._pools

    def use_pools(self, pools: Pools) -> None:
        """Run plain functions there."""
        self._pools = pools

    @classmethod
    def has_handlers_in(cls, run_in: str) -> bool:
        """Whether a handler of this service runs there."""
        return any(handler.options.run_in == run_in for handler in cls._handlers.values())

    async def process_action(self, action: DomainAction) -> Any:
        """Handle one action; what is returned becomes the response's data. Raises UnknownAction."""
        return await _begin(self, action)

    @classmethod
    def options_of(cls, action_type: str) -> HandlerOptions:
        """What `@handles` said about the handler of an action type; defaults when nothing did."""
        handler = cls._handlers.get(action_type)
        return handler.options if handler is not None else HandlerOptions(action_type)

    @classmethod
    def all_options(cls) -> dict[str, HandlerOptions]:
        """What `@handles` said about every handler, by action type."""
        return {action_type: handler.options for action_type, handler in cls._handlers.items()}

    @classmethod
    def only_handles(cls) -> list[str] | None:
        """The action types it handles; None where its own `process_action` may take any."""
        return sorted(cls._handlers) if cls.process_action is BaseService.process_action else None

    @classmethod
    def make_settings(cls, **values: Any) -> CommonAppSettings:
        """This service's settings; without a domain of its own it gets the one of its handlers."""
        fields = cls.settings_class.model_fields
        domains = {action_type.partition(".")[0] for action_type in cls._handlers}
        if "domain_name" not in values and not fields["domain_name"].default and len(domains) == 1:
            values["domain_name"] = domains.pop()
        return cls.settings_class(**values)

    async def start(self) -> None:
        """Called once before the first action; open what the handlers need."""

    async def stop(self) -> None:
        """Called once after the last action; close it."""


ActionProcessor = BaseService


def _begin(service: BaseService, action: DomainAction) -> Awaitable[Any]:
    handler = service._handlers.get(action.action_type)
    if handler is None:
        raise UnknownAction(action.action_type, service._handlers)
    return handler.call(service, action)


def handling(
    service: BaseService, middleware: Sequence[WorkerMiddleware] = (), own: Handle | None = None
) -> Handle:
    """What a worker calls: `own`, else the service's `process_action`, inside of `middleware`.

    Where nothing is around it and nobody has changed it, what it does is called without its coroutine.
    """
    usual = getattr(service.process_action, "__func__", None) is BaseService.process_action
    if usual and own is None and not middleware:
        return partial(_begin, service)
    return chained(middleware, own or service.process_action)


def by_domain(services: Sequence[BaseService]) -> dict[str, BaseService]:
    """The services of one worker by their domains; raises ConfigurationError when two share one."""
    found: dict[str, BaseService] = {}
    for service in services:
        domain = check_domain(service.app_settings.domain_name)
        if domain in found:
            raise ConfigurationError(
                f"{type(found[domain]).__name__} and {type(service).__name__} both serve the domain "
                f"{domain!r}; one worker runs one service per domain"
            )
        found[domain] = service
    return found


__all__ = ["ActionProcessor", "BaseService", "HandlerOptions", "handles", "provides"]
