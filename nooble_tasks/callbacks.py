"""Callbacks: actions that tell a sender how its action is going, on a list that the sender listens to."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from typing import Any, cast

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import OutOfMemoryError, ReadOnlyError, RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from .actions import DomainAction
from .connections import blocking_twin
from .error_mapping import detail_from_exception
from .errors import NoobleError
from .payload import DEFAULT_LIMITS, PayloadLimits

_log = logging.getLogger(__name__)

_BLOCK_S = 5.0
_RETRY_S = 0.5
_PASSING = (RedisConnectionError, RedisTimeoutError, ReadOnlyError, OutOfMemoryError, OSError)
_PASSING_STATES = ("UNBLOCKED ", "MASTERDOWN ", "MISCONF ")


def callback_for(action: DomainAction, service_name: str, data: Any, *, success: bool) -> DomainAction | None:
    """The callback to `action`, None when it asks for none."""
    if action.callback_action_type is None or action.callback_queue_name is None:
        return None
    return DomainAction(
        action_type=action.callback_action_type,
        tenant_id=action.tenant_id,
        tenant_tier=action.tenant_tier,
        session_id=action.session_id,
        task_id=action.task_id,
        origin_service=service_name,
        target_service=action.origin_service,
        correlation_id=action.correlation_id or action.action_id,
        trace_id=action.trace_id,
        data=data,
        metadata={"success": success, "in_reply_to": action.action_id},
    )


def error_callback_data(error: BaseException) -> dict[str, Any]:
    """The data of a callback that says what went wrong."""
    return {"error": detail_from_exception(error).to_dict()}


async def push(redis: Any, queue: str, raw: bytes, ttl_ms: int) -> None:
    """Put a callback on a list that the caller has checked; unread lists end after `ttl_ms`."""
    pipeline = redis.pipeline(transaction=True)
    pipeline.lpush(queue, raw)
    pipeline.pexpire(queue, ttl_ms)
    await pipeline.execute()


async def listen(
    redis: Any, queue: str, timeout: float | None = None, limits: PayloadLimits = DEFAULT_LIMITS
) -> AsyncGenerator[DomainAction]:
    """Callbacks of a list as they arrive, oldest first; ends after `timeout` seconds without one.

    One listener per list. A callback is removed when the next is asked for, so one whose handling was
    interrupted is delivered again. What is no action is logged and removed; a lost connection is made again.
    """
    blocking = blocking_twin(redis, _BLOCK_S)
    loop = asyncio.get_running_loop()
    try:
        until = None if timeout is None else loop.time() + timeout
        while until is None or loop.time() < until:
            block = _BLOCK_S if until is None else max(min(_BLOCK_S, until - loop.time()), 0.01)
            try:
                # Moving the oldest onto its own place is a peek that blocks: nothing is lost by a cut link.
                raw = await blocking.blmove(queue, queue, cast("int", block), "RIGHT", "RIGHT")
            except (RedisError, OSError) as error:
                await _pause(error)
                continue
            if raw is None:
                continue
            callback = _read(cast("bytes", raw), queue, limits)
            if callback is not None:
                yield callback
            await _remove(redis, queue, cast("bytes", raw))
            until = None if timeout is None else loop.time() + timeout
    finally:
        await blocking.aclose(close_connection_pool=True)


async def _remove(redis: Any, queue: str, raw: bytes) -> None:
    """It has been handled, so it must not come again because the link is cut just now."""
    while True:
        try:
            await redis.lrem(queue, -1, raw)
            return
        except (RedisError, OSError) as error:
            await _pause(error)


async def _pause(error: RedisError | OSError) -> None:
    """Until it may go better: after a cut, a failover, while memory is full. Raises what does not pass."""
    if not isinstance(error, _PASSING) and not str(error).startswith(_PASSING_STATES):
        raise error
    _log.warning("waiting for callbacks: %s; again in %.1f s", error, _RETRY_S)
    await asyncio.sleep(_RETRY_S)


def _read(raw: bytes, queue: str, limits: PayloadLimits) -> DomainAction | None:
    try:
        return DomainAction.from_json(raw, limits)
    except NoobleError as error:
        _log.warning("what somebody pushed to %s is no callback and was dropped: %s", queue, error)
        return None
