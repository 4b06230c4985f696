"""What `enqueue_action` returns: the action's id, its state, its result, its end."""

from __future__ import annotations

import asyncio
from typing import Any

from redis.exceptions import RedisError

from ._engine import State, Why, inspection
from .actions import DomainAction, DomainActionResponse
from .bus import Bus
from .children import cancel_with_children
from .error_mapping import detail_from_exception, error_from_detail
from .errors import (
    ActionCancelled,
    ActionTimeout,
    InvalidAction,
    InvalidResponse,
    NoobleError,
    QueueUnavailable,
)
from .inspector import Inspector
from .payload import PayloadLimits
from .times import delay_seconds

DEFAULT_TIMEOUT_S = 30.0


class ActionHandle:
    """A sent action. `accepted` is False when it was already there and `action_id` names the earlier one.

    `tier` is the one it waits in. `refused`: of one sent together with others, why it is not in line.
    """

    def __init__(
        self,
        bus: Bus,
        action: DomainAction,
        domain: str,
        tier: str,
        *,
        accepted: bool = True,
        refused: NoobleError | None = None,
    ) -> None:
        self._bus = bus
        self._domain = domain
        self._response: DomainActionResponse | None = None
        self.action = action
        self.action_id = action.action_id
        self.tier = tier
        self.accepted = accepted
        self.refused = refused

    def __repr__(self) -> str:
        return f"<ActionHandle {self.action.action_type} {self.action_id}>"

    async def result(self, timeout: float = DEFAULT_TIMEOUT_S) -> Any:
        """The data of the response, awaited up to `timeout` seconds.

        Raises ActionTimeout, QueueUnavailable, or what the response says went wrong: ActionFailed,
        ActionExpired, ActionCancelled, RateLimited. May be called again, and by others, until the response
        expires.
        """
        return raise_for(await self.response(timeout)).data

    async def response(self, timeout: float = DEFAULT_TIMEOUT_S) -> DomainActionResponse:
        """The whole response; raises ActionTimeout, QueueUnavailable, or why it was refused."""
        if self.refused is not None:
            raise self.refused
        if self.action.callback_action_type is not None:
            raise InvalidAction(
                f"{self.action.action_type} answers by callback; listen on {self.action.callback_queue_name}"
            )
        if self._response is None:
            raw = await wait_for_response(self._bus, self._domain, self.action, timeout)
            self._response = read_response(self.action, raw, self._bus.settings.payload_limits)
        return self._response

    async def status(self) -> State:
        """Where the action is now; `unknown` once it is done and forgotten."""
        try:
            return await inspection.state_of(self._bus.engine, self._domain, self.action_id)
        except (RedisError, OSError) as error:
            raise unavailable(error) from error

    async def why(self) -> Why:
        """Why it has not started yet, where it runs, or how it ended; `.sentence` says it in words.

        Raises ActionNotFound once it is over and forgotten.
        """
        return await Inspector(self._bus).why(self.action_id, self._domain)

    async def cancel(self) -> bool:
        """Cancel it: True if it had not started, or its worker has been told; False if it is over."""
        response = cancelled_response(self.action)
        try:
            said = await cancel_with_children(self._bus.engine, self._domain, [(self.action_id, response)])
        except (RedisError, OSError) as error:
            raise unavailable(error) from error
        return said[0] != "unknown"


def cancelled_response(action: DomainAction) -> bytes:
    """What whoever waits for a cancelled action is told."""
    error = ActionCancelled(action_id=action.action_id)
    return DomainActionResponse.failed(action, detail_from_exception(error)).to_json()


async def wait_for_response(bus: Bus, domain: str, action: DomainAction, timeout: float) -> bytes:
    """The stored response of an action, awaited up to `timeout` seconds.

    Raises ActionTimeout, QueueUnavailable. A caller that had the future made before sending
    (`replies.expect`) cannot miss the announcement; for any other the response list is looked at once the
    future exists.
    """
    timeout = delay_seconds(timeout, "timeout")
    replies = bus.replies
    future = replies.expect(domain, action.action_id)
    try:
        await replies.interrupt(domain)
        raw = await replies.look(domain, action.action_id)
        if raw is not None:
            return raw
        return await expect_within(bus, domain, action, future, timeout)
    except (RedisError, OSError) as error:
        raise unavailable(error) from error
    finally:
        replies.forget(domain, action.action_id, future)


def _end(future: asyncio.Future[bytes]) -> None:
    if not future.done():
        future.set_result(b"")  # which no response is


async def expect_within(
    bus: Bus, domain: str, action: DomainAction, future: asyncio.Future[bytes], timeout: float
) -> bytes:
    """What the future brings within `timeout` seconds, else what the response list holds by then."""
    timer = asyncio.get_running_loop().call_later(timeout, _end, future)
    try:
        raw: bytes | None = await future
    finally:
        timer.cancel()
    raw = raw or await bus.replies.look(domain, action.action_id)
    if raw is not None:
        return raw
    raise ActionTimeout(
        f"no answer to {action.action_type} within {timeout:g} s; is a worker for {domain!r} running? "
        f"`nooble status` shows what it waits for",
        action_id=action.action_id,
    )


def read_response(action: DomainAction, raw: bytes, limits: PayloadLimits) -> DomainActionResponse:
    """The response, checked to be the one to this action of this tenant."""
    response = DomainActionResponse.from_json(raw, limits)
    if response.action_id != action.action_id or response.tenant_id != action.tenant_id:
        raise InvalidResponse(
            f"the response read for {action.action_id} belongs to {response.action_id!r} of another request; "
            "it was not used"
        )
    return response


def unavailable(error: BaseException) -> QueueUnavailable:
    """What a caller is told of a server that does not answer."""
    reason = str(error) or type(error).__name__
    return QueueUnavailable(f"Redis cannot take the command now: {reason}; try again when it answers")


def raise_for(response: DomainActionResponse) -> DomainActionResponse:
    """The response itself when it is a success, else its error raised."""
    if response.error is not None:
        raise error_from_detail(response.error, action_id=response.action_id)
    return response
