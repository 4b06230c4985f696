"""What a business service is: a class whose methods handle actions.

class GreetingService(BaseService):
    @handles("greeting.say")
    async def say(self, data: Greeting) -> str:
        return f"hello {data.name}"
"""

from __future__ import annotations

import inspect
import logging
import typing
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

from pydantic import TypeAdapter, ValidationError

from .actions import DomainAction
from .context import ExecutionContext, current_context
from .errors import ConfigurationError, InvalidAction, UnknownAction
from .ids import check_action_type
from .logs import get_logger
from .retry import RetryPolicy
from .retry_budget import RetryBudget
from .settings import CommonAppSettings

Method = TypeVar("Method", bound=Callable[..., Awaitable[Any]])

_MARK = "__nooble_handles__"


@dataclass(frozen=True, slots=True)
class HandlerOptions:
    """What `@handles` says about a handler. ``timeout_s``: at most so long, whatever the tier allows."""

    action_type: str
    timeout_s: float | None = None
    retry: RetryPolicy | None = None


@dataclass(frozen=True, slots=True)
class Handler:
    """A handler method, ready to be called."""

    options: HandlerOptions
    method_name: str
    data_type: TypeAdapter[Any] | None
    data_parameter: str | None
    action_parameter: str | None
    context_parameter: str | None

    async def call(self, service: BaseService, action: DomainAction) -> Any:
        """Validate the data and run the method."""
        arguments: dict[str, Any] = {}
        if self.data_parameter is not None:
            arguments[self.data_parameter] = self._data(action)
        if self.action_parameter is not None:
            arguments[self.action_parameter] = action
        if self.context_parameter is not None:
            arguments[self.context_parameter] = current_context()
        return await getattr(service, self.method_name)(**arguments)

    def _data(self, action: DomainAction) -> Any:
        if self.data_type is None:
            return action.data
        try:
            return self.data_type.validate_python(action.data)
        except ValidationError as error:
            problems = "; ".join(
                f"{'.'.join(('data', *map(str, item['loc'])))}: {item['msg']}"
                for item in error.errors(include_url=False, include_input=False)[:5]
            )
            raise InvalidAction(
                f"{action.action_type} does not accept this data: {problems}",
                details={"problems": problems},
            ) from None


def handles(
    action_type: str, *, timeout: float | None = None, retry: RetryPolicy | None = None
) -> Callable[[Method], Method]:
    """Declare a method the handler of an action type.

    Its parameters are filled by name and annotation: `data` with the validated payload, one annotated
    DomainAction with the action, one annotated ExecutionContext with the context. `timeout` in seconds.
    """
    check_action_type(action_type)
    if timeout is not None and timeout <= 0:
        raise ConfigurationError(f"the timeout of {action_type} must be positive, not {timeout}")

    def mark(method: Method) -> Method:
        if not _is_async(method):
            raise ConfigurationError(
                f"the handler of {action_type}, {method.__qualname__}, must be `async def`"
            )
        setattr(method, _MARK, HandlerOptions(action_type, timeout, retry))
        return method

    return mark


class BaseService:
    """Base of business services. The default `process_action` dispatches to `@handles` methods.

    Overriding `process_action` works too. Attributes: `app_settings`, `service_redis_client` (to talk to
    other services), `direct_redis_conn`, `_logger`.
    """

    settings_class: ClassVar[type[CommonAppSettings]] = CommonAppSettings
    retry_policy: ClassVar[RetryPolicy] = RetryPolicy()
    retry_budget: ClassVar[RetryBudget | None] = RetryBudget()
    _handlers: ClassVar[dict[str, Handler]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        handlers = dict(cls._handlers)
        own: set[str] = set()
        for name, member in list(vars(cls).items()):
            options = getattr(member, _MARK, None)
            if options is None:
                continue
            if options.action_type in own:
                raise ConfigurationError(f"{cls.__name__} has two handlers of {options.action_type}")
            own.add(options.action_type)
            handlers[options.action_type] = _handler(cls, name, member, options)
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

    async def process_action(self, action: DomainAction) -> Any:
        """Handle one action; what is returned becomes the response's data. Raises UnknownAction."""
        handler = self._handlers.get(action.action_type)
        if handler is None:
            raise UnknownAction(action.action_type, self._handlers)
        return await handler.call(self, action)

    @classmethod
    def options_of(cls, action_type: str) -> HandlerOptions:
        """What `@handles` said about the handler of an action type; defaults when nothing did."""
        handler = cls._handlers.get(action_type)
        return handler.options if handler is not None else HandlerOptions(action_type)

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


def _handler(cls: type[BaseService], name: str, method: Any, options: HandlerOptions) -> Handler:
    """Look at the parameters of a handler method once, when its class is made."""
    try:
        hints = typing.get_type_hints(method)
    except NameError as error:
        raise ConfigurationError(
            f"{cls.__name__}.{name}: the annotation {error.name!r} cannot be found when the class is made; "
            "import it outside of TYPE_CHECKING"
        ) from error
    data = action = context = None
    for parameter in list(inspect.signature(method).parameters.values())[1:]:
        kind = hints.get(parameter.name)
        if kind is DomainAction or (kind is None and parameter.name == "action"):
            action = parameter.name
        elif kind is not None and _is_context(kind):
            context = parameter.name
        elif data is None:
            data = parameter.name
        elif parameter.default is inspect.Parameter.empty:
            raise ConfigurationError(
                f"{cls.__name__}.{name}: nothing is known to fill the parameter {parameter.name!r} with; a "
                "handler takes its data, a DomainAction and an ExecutionContext"
            )
    data_type = TypeAdapter(hints[data]) if data is not None and hints.get(data, Any) is not Any else None
    return Handler(options, name, data_type, data, action, context)


def _is_async(method: object) -> bool:
    return inspect.iscoroutinefunction(method)  # apart, or type checkers narrow what they look at


def _is_context(kind: Any) -> bool:
    return kind is ExecutionContext or ExecutionContext in typing.get_args(kind)
