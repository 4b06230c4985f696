"""Handlers: what `@handles` declares, what fills their parameters, where they run."""

from __future__ import annotations

import asyncio
import inspect
import math
import typing
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from pydantic import TypeAdapter, ValidationError

from .actions import DomainAction
from .cancel_token import CancelToken, enter_token, reason_of_stop
from .context import ExecutionContext, current_context
from .errors import ConfigurationError, InvalidAction, did_you_mean, shorten
from .ids import check_action_type
from .process_child import Call
from .providers import Source, known_types, name_of, source_for
from .retry import RetryPolicy

if TYPE_CHECKING:
    from .service import BaseService

Method = TypeVar("Method", bound=Callable[..., Any])
RunIn = Literal["loop", "thread", "process"]

MARK = "__nooble_handles__"


@dataclass(frozen=True, slots=True)
class HandlerOptions:
    """What `@handles` says about a handler. ``timeout_s``: at most so long, whatever the tier allows.

    ``run_in``: the event loop, a thread, or another process. ``concurrency``: at most so many at once in one
    worker.
    """

    action_type: str
    timeout_s: float | None = None
    retry: RetryPolicy | None = None
    run_in: RunIn = "loop"
    concurrency: int | None = None


@dataclass(frozen=True, slots=True)
class Handler:
    """A handler method, ready to be called."""

    options: HandlerOptions
    method_name: str
    data_type: TypeAdapter[Any] | None
    data_parameter: str | None
    action_parameter: str | None
    context_parameter: str | None
    token_parameter: str | None
    sources: tuple[tuple[str, Source], ...] = ()
    only_data: str | None = None
    """The parameter for the data of one that runs in the event loop and takes nothing else, as most do."""

    def call(self, service: BaseService, action: DomainAction) -> Awaitable[Any]:
        """Validate the data and begin the method, where it is to run; what is awaited is its result.

        No coroutine of its own: each one between a worker and a method is paid for by every action.
        """
        method: Awaitable[Any]
        if self.only_data is not None:
            data = self._data(action.action_type, action.data)
            method = getattr(service, self.method_name)(**{self.only_data: data})
            return method
        run_in = self.options.run_in
        if run_in == "process":
            return self._call_elsewhere(service, action)
        arguments: dict[str, Any] = {}
        if self.data_parameter is not None:
            arguments[self.data_parameter] = self._data(action.action_type, action.data)
        if self.action_parameter is not None:
            arguments[self.action_parameter] = action
        if self.context_parameter is not None:
            arguments[self.context_parameter] = current_context()
        for name, source in self.sources:
            arguments[name] = source(service)
        if run_in == "loop" and self.token_parameter is None:
            method = getattr(service, self.method_name)(**arguments)
            return method
        return self._call_with_token(service, arguments)

    async def _call_with_token(self, service: BaseService, arguments: dict[str, Any]) -> Any:
        token = enter_token()
        if self.token_parameter is not None:
            arguments[self.token_parameter] = token
        method = getattr(service, self.method_name)
        try:
            if self.options.run_in == "thread":
                return await service.pools.threads.run(partial(method, **arguments))
            return await method(**arguments)
        except asyncio.CancelledError as stop:
            token.cancel(reason_of_stop(stop))
            raise

    async def _call_elsewhere(self, service: BaseService, action: DomainAction) -> Any:
        self._data(action.action_type, action.data)  # what does not fit need not travel
        cls = type(service)
        call = Call(cls.__module__, cls.__qualname__, action.action_type, action.data, current_context())
        return await service.pools.processes.run(call)

    def call_in_process(self, service: type[BaseService], action_type: str, data: Any) -> Any:
        """In the other process: validate the data there and run the method."""
        arguments: dict[str, Any] = {}
        if self.data_parameter is not None:
            arguments[self.data_parameter] = self._data(action_type, data)
        if self.context_parameter is not None:
            arguments[self.context_parameter] = current_context()
        return getattr(service, self.method_name)(**arguments)

    def _data(self, action_type: str, data: Any) -> Any:
        if self.data_type is None:
            return data
        try:
            return self.data_type.validator.validate_python(data)
        except ValidationError as error:
            problems = "; ".join(
                f"{'.'.join(('data', *map(str, item['loc'])))}: {item['msg']}"
                for item in error.errors(include_url=False, include_input=False)[:5]
            )
            raise InvalidAction(
                f"{action_type} does not accept this data: {problems}", details={"problems": problems}
            ) from None


def handles(
    action_type: str,
    *,
    timeout: float | None = None,
    retry: RetryPolicy | None = None,
    run_in: Literal["thread", "process"] | None = None,
    concurrency: int | None = None,
) -> Callable[[Method], Method]:
    """Declare a method the handler of an action type.

    Its parameters are filled by name and annotation: `data` with the validated payload; DomainAction and
    ExecutionContext with those of the attempt, CancelToken with the one that says when to end;
    BaseRedisClient (or a subclass), RedisStateManager[Model], Redis, the settings' class, and whatever the
    service `@provides`. `timeout` in seconds. At most `concurrency` run at once in one
    worker process; others wait there without taking a slot from other handlers.

    An `async def` runs in the worker's event loop, a plain `def` in a thread. `run_in="process"` is for what
    keeps a core busy: a `@staticmethod` of an importable class, called with data and context in another
    process, which is killed when time is up or the action is cancelled.
    """
    check_action_type(action_type)
    is_number = isinstance(timeout, int | float) and not isinstance(timeout, bool)
    if timeout is not None and not (is_number and 0 < timeout < math.inf):
        raise ConfigurationError(
            f"the timeout of {action_type} must be seconds, more than zero and finite, not {timeout!r}"
        )
    if retry is not None and not isinstance(retry, RetryPolicy):
        raise ConfigurationError(f"retry of {action_type} must be a RetryPolicy(...), not {retry!r}")
    if concurrency is not None and (type(concurrency) is not int or concurrency < 1):
        raise ConfigurationError(f"the concurrency of {action_type} must be at least 1, not {concurrency!r}")

    def mark(method: Method) -> Method:
        place = _place(action_type, method, run_in)
        setattr(method, MARK, HandlerOptions(action_type, timeout, retry, place, concurrency))
        return method

    return mark


def options_of(member: object) -> HandlerOptions | None:
    """What `@handles` said about a member of a class; None when it said nothing."""
    found = getattr(member, MARK, None)
    if found is None and isinstance(member, staticmethod):
        found = getattr(member.__func__, MARK, None)
    return typing.cast("HandlerOptions | None", found)


def make_handler(cls: type[BaseService], name: str, member: Any, options: HandlerOptions) -> Handler:
    """Look at the parameters of a handler method once, when its class is made."""
    static = isinstance(member, staticmethod)
    method = member.__func__ if static else member
    try:
        hints = typing.get_type_hints(method)
    except NameError as error:
        raise ConfigurationError(
            f"{cls.__name__}.{name}: the annotation {error.name!r} cannot be found when the class is made; "
            "import it outside of TYPE_CHECKING"
        ) from error
    found = _Parameters(cls, name)
    for parameter in list(inspect.signature(method).parameters.values())[0 if static else 1 :]:
        found.add(parameter, hints.get(parameter.name))
    data = found.data_parameter()
    if options.run_in == "process":
        _check_for_process(cls, name, static=static, not_there=found.only_in_worker())
    known = data is not None and hints.get(data, Any) is not Any
    data_type: TypeAdapter[Any] | None = TypeAdapter(hints[data]) if known and data is not None else None
    others = found.action or found.context or found.token or found.sources
    return Handler(
        *(options, name, data_type, data, found.action, found.context, found.token, tuple(found.sources)),
        only_data=None if others or options.run_in != "loop" else data,
    )


class _Parameters:
    """The parameters of one handler, sorted by what fills them."""

    def __init__(self, cls: type[BaseService], method_name: str) -> None:
        self.action: str | None = None
        self.context: str | None = None
        self.token: str | None = None
        self.sources: list[tuple[str, Source]] = []
        self._cls = cls
        self._method_name = method_name
        self._others: list[tuple[inspect.Parameter, Any]] = []

    def add(self, parameter: inspect.Parameter, kind: Any) -> None:
        if kind is DomainAction or (kind is None and parameter.name == "action"):
            self.action = parameter.name
        elif kind is not None and _is_or_has(kind, ExecutionContext):
            self.context = parameter.name
        elif kind is not None and _is_or_has(kind, CancelToken):
            self.token = parameter.name
        elif kind is not None and (source := source_for(kind, self._cls._providers)) is not None:
            self.sources.append((parameter.name, source))
        else:
            self._others.append((parameter, kind))

    def data_parameter(self) -> str | None:
        """The one for the data: called so, else the first that nothing else fills."""
        names = [parameter.name for parameter, _ in self._others]
        data = "data" if "data" in names else next(iter(names), None)
        for parameter, kind in self._others:
            if parameter.name != data and parameter.default is inspect.Parameter.empty:
                known = known_types(self._cls._providers)
                said = f" ({name_of(kind)})" if kind is not None else ""
                raise ConfigurationError(
                    f"{self._cls.__name__}.{self._method_name}: nothing is known to fill the parameter "
                    f"'{parameter.name}'{said} with{did_you_mean(name_of(kind), known)}; a handler takes its "
                    f"data and {', '.join(known)}; add a @provides method for anything else"
                )
        return data

    def only_in_worker(self) -> str | None:
        """A parameter that cannot be filled in another process."""
        return self.action or self.token or next((name for name, _ in self.sources), None)


def _place(action_type: str, method: Any, run_in: str | None) -> RunIn:
    function = getattr(method, "__func__", method)
    name = getattr(function, "__qualname__", repr(function))
    if not callable(function):
        raise ConfigurationError(f"the handler of {action_type}, {shorten(method)}, is not a function")
    if run_in not in (None, "thread", "process"):
        raise ConfigurationError(f"run_in of {action_type} is {shorten(run_in)}, not 'thread' or 'process'")
    if inspect.isasyncgenfunction(function) or inspect.isgeneratorfunction(function):
        raise ConfigurationError(
            f"the handler of {action_type}, {name}, yields instead of returning a result"
        )
    if not inspect.iscoroutinefunction(function):
        return "process" if run_in == "process" else "thread"
    if run_in is not None:
        raise ConfigurationError(
            f"the handler of {action_type}, {name}, is `async def`, which runs in the event loop; "
            f"make it a plain `def` to run it in a {run_in}"
        )
    return "loop"


def _check_for_process(cls: type[BaseService], name: str, *, static: bool, not_there: str | None) -> None:
    where = f"{cls.__name__}.{name} runs in another process"
    if not static:
        raise ConfigurationError(f"{where}, where there is no service: make it a @staticmethod without self")
    if "<locals>" in cls.__qualname__:
        raise ConfigurationError(f"{where}, which must import it: define {cls.__name__} at a module's top")
    if not_there is not None:
        raise ConfigurationError(
            f"{where} and gets its data and an ExecutionContext; nothing there can fill {not_there!r}"
        )


def _is_or_has(kind: Any, wanted: type) -> bool:
    return kind is wanted or wanted in typing.get_args(kind)
