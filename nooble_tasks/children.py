"""What a handler has sent: when its action is cancelled, what is not over of that is cancelled with it.

It is kept under the action in Redis (`scheduler/children.py`), so that it is known in a later attempt, by
another worker, and to who cancels between two attempts; and to any worker, should that one die over it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from redis.exceptions import RedisError, ResponseError

from ._engine import Engine, SchedulerError
from ._engine import children as written
from .actions import DomainAction, DomainActionResponse
from .error_mapping import detail_from_exception
from .errors import ActionCancelled

_log = logging.getLogger(__name__)

_NONE = "-"


class Child(NamedTuple):
    """A sent action, as far as its cancellation needs it."""

    domain: str
    action_id: str
    action_type: str
    tenant_id: str
    correlation_id: str | None
    trace_id: str | None

    @classmethod
    def of(cls, domain: str, action: DomainAction) -> Child:
        return cls(
            domain,
            action.action_id,
            action.action_type,
            action.tenant_id,
            action.correlation_id,
            action.trace_id,
        )

    @classmethod
    def from_line(cls, line: str) -> Child:
        """What `line` made of it. Of a later version there may be more; that is left out."""
        domain, action_id, action_type, tenant_id, correlation_id, trace_id = line.split(" ")[:6]
        return cls(
            domain,
            action_id,
            action_type,
            tenant_id,
            None if correlation_id == _NONE else correlation_id,
            None if trace_id == _NONE else trace_id,
        )

    def line(self) -> str:
        """As it is kept in Redis: none of these has a space in it."""
        return " ".join(part or _NONE for part in self)

    def response(self) -> bytes:
        """What whoever waits for it is told."""
        error = detail_from_exception(
            ActionCancelled("the action that sent it was cancelled", action_id=self.action_id)
        )
        address: dict[str, Any] = {name: value for name, value in self._asdict().items() if name != "domain"}
        return DomainActionResponse(success=False, error=error, **address).to_json()


async def cancel_with_children(
    engine: Engine, domain: str, items: Sequence[tuple[str, bytes]]
) -> Sequence[str]:
    """`Engine.cancel`, and the same for what those have sent that were taken out between two attempts; those
    that run are told, and their workers do it."""
    said = await engine.cancel(domain, items)
    parents = [action_id for (action_id, _), each in zip(items, said, strict=True) if each == "parent"]
    for parent_id in parents:
        await cancel_children(engine, domain, parent_id)
    return said


async def cancel_children(engine: Engine, domain: str, parent_id: str) -> None:
    """Cancel what an action has sent, and what that has sent, as far as it is not over."""
    seen: set[tuple[str, str]] = set()
    parents = [(domain, parent_id)]
    while parents:
        where, action_id = parents.pop()
        seen.add((where, action_id))
        async for lines in written.of(engine, where, action_id):
            page = list(_readable(lines, action_id))
            parents += [each for each in await _cancel_page(engine, page) if each not in seen]


def _readable(lines: Iterable[str], parent_id: str) -> Iterator[Child]:
    """One that cannot be read keeps none of the others running."""
    for line in lines:
        try:
            yield Child.from_line(line)
        except ValueError:
            _log.warning("what %s has sent is not cancelled: its record %.100r says nothing", parent_id, line)


async def cancel_sent(engine: Engine, children: Sequence[Child]) -> None:
    """Cancel what was sent for an action that is over and was cancelled, and what that has sent meanwhile."""
    for domain, parent_id in await _cancel_page(engine, children):
        await cancel_children(engine, domain, parent_id)


async def go_on_cancelling(engine: Engine, domain: str) -> bool:
    """Reach the children of actions that were cancelled some seconds ago, of a few; whether there are more.

    For maintenance: who cancelled them may have died over it, or what was being sent was not in line yet.
    """
    parents = await written.unreached(engine, domain)
    for parent_id in parents:
        try:
            await cancel_children(engine, domain, parent_id)
        except (ResponseError, SchedulerError) as error:
            _log.warning("%s: cancelling what %s has sent: %s; later again", domain, parent_id, error)
        else:
            await written.reached(engine, domain, parent_id)
    return len(parents) >= written.PARENTS_AT_ONCE


async def _cancel_page(engine: Engine, page: Iterable[Child]) -> list[tuple[str, str]]:
    """Those that have sent something and are taken out: nobody else will look after it."""
    by_domain: dict[str, list[tuple[str, bytes]]] = {}
    for child in page:
        by_domain.setdefault(child.domain, []).append((child.action_id, child.response()))
    parents = []
    for domain, items in by_domain.items():
        said = await engine.cancel(domain, items)
        parents += [(domain, each[0]) for each, one in zip(items, said, strict=True) if one == "parent"]
    return parents


class ChildrenCanceller:
    """Cancels the children of cancelled attempts, apart from the worker's turns."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._tasks: set[asyncio.Task[None]] = set()

    def cancel(self, domain: str, parent_id: str) -> None:
        """Begin; errors of Redis are logged, the children are then cancelled by maintenance."""
        task = asyncio.create_task(self._cancel(domain, parent_id), name="nooble-cancel-children")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def settle(self) -> None:
        """Wait for what has begun."""
        while self._tasks:
            await asyncio.wait(set(self._tasks))

    async def _cancel(self, domain: str, parent_id: str) -> None:
        try:
            await cancel_children(self._engine, domain, parent_id)
        except (RedisError, OSError, SchedulerError) as error:
            _log.warning("cancelling what %s has sent: %s; in some seconds again", parent_id, error)
