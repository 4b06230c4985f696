"""How services talk to each other: three patterns over one bus, and `enqueue_action`.

* fire and forget: `send_action_async`
* request and response: `request`, `send_action_pseudo_sync`
* callback: `send_action_async_with_callback`, then `listen_callbacks`
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

from redis.exceptions import RedisError

from ._engine import Enqueued
from .actions import DomainAction, DomainActionResponse
from .bus import Bus
from .callbacks import callback_for, listen, push
from .cancellations import Cancellations
from .context import current_context, earliest, tenant_or_current
from .dead_letters import DeadLetters
from .delivery_errors import NotReplicated
from .error_mapping import detail_from_exception
from .errors import ActionError, ActionTimeout, InvalidAction, QueueUnavailable
from .handle import (
    ActionHandle,
    expect_within,
    raise_for,
    read_response,
    unavailable,
    wait_for_response,
)
from .ids import check_id
from .inspector import Inspector
from .middleware import ClientMiddleware
from .operating import Operator
from .preparing import Prepared, Preparer
from .refusals import error_of
from .schedules import Schedules
from .sending import send, send_one
from .settings import CommonAppSettings
from .times import delay_seconds, due_ms, moment
from .workers import Workers

_GIVEN = (
    "tenant_tier",
    "deadline",
    "idempotency_key",
    "unique_key",
    "callback_action_type",
    "session_id",
    "task_id",
    "metadata",
)
"""What `enqueue_action` may be given beside an action, by the names of its fields."""

_BEFORE_OTHERS = 500
"""So many actions of a list are prepared before the event loop's other tasks have their turn."""

_NOTHING = (None,) * len(_GIVEN)


class BaseRedisClient:
    """A service's way to others. Subclass it with a method per action (`EmbeddingServiceClient`)."""

    middleware: ClassVar[Sequence[ClientMiddleware]] = ()
    """Around every enqueue, in this order."""

    def __init__(self, service_name: str, redis_client: Any, settings: CommonAppSettings) -> None:
        self.service_name = check_id("service_name", service_name)
        self.redis_client = redis_client
        self.settings = settings
        self.bus = Bus.of(redis_client, settings)
        self.queue_manager = self.bus.queue_manager
        self.inspector = Inspector(self.bus)
        self.operator = Operator(self.bus)
        self.policies = self.bus.policies
        self.workers = Workers(self.bus)
        self.cancellations = Cancellations(self.bus)
        self.dead_letters = DeadLetters(self.bus)
        self.schedules = Schedules(self.bus, service_name)
        self._prepare = Preparer(service_name, self.bus)

    # -- fire and forget --------------------------------------------------------------------------------

    async def send_action_async(self, action: DomainAction) -> None:
        """Send and go on; no response is stored. Raises InvalidAction, QueueUnavailable."""
        await self._send_one(await self._prepared(action))

    async def enqueue_action(
        self,
        action: DomainAction | str,
        data: Any = None,
        *,
        tenant_id: str | None = None,
        tier: str | None = None,
        delay: float | timedelta | None = None,
        run_at: datetime | None = None,
        deadline: datetime | float | timedelta | None = None,
        idempotency_key: str | None = None,
        unique_key: str | None = None,
        callback: str | None = None,
        callback_context: str | None = None,
        session_id: str | None = None,
        task_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> ActionHandle:
        """Put an action in line and get a handle on it.

        `action` is a DomainAction, or an action type with `data` and `tenant_id` (default: the tenant on
        whose behalf the current handler runs). `delay` (seconds) or `run_at` postpone it. `deadline`, a
        moment or seconds from now: nothing starts after it. `idempotency_key`: the same key of the same
        tenant is one action. `unique_key`: at most one alive. `callback`: the action type of the callback.
        `tier`: default the tenant's own; a better one raises TierNotAllowed.
        """
        if isinstance(action, str):
            action = DomainAction(action_type=action, tenant_id=tenant_or_current(tenant_id), data=data)
        elif data is not None or tenant_id is not None:
            raise InvalidAction("give data and tenant_id with an action type, not with a DomainAction")
        given = (tier, deadline, idempotency_key, unique_key, callback, session_id, task_id, metadata)
        if given != _NOTHING:
            values = (tier, moment(deadline, "deadline"), *given[2:7], dict(metadata) if metadata else None)
            changes = {name: value for name, value in zip(_GIVEN, values, strict=True) if value is not None}
            action = action.model_copy(update=changes)
        if action.callback_action_type is not None or callback_context is not None:
            action = self._prepare.with_callback(action, None, callback_context)
        reply_to = "" if action.callback_action_type else self.bus.replies.client_id
        due = 0 if delay is None and run_at is None else due_ms(delay, run_at, self.bus.clock.now_ms)
        if self.middleware or self.bus.policy_is_old:
            prepared = await self._prepared(action, reply_to=reply_to, due_ms=due)
        else:
            prepared = self._prepare(action, reply_to=reply_to, due_ms=due)
        enqueued = await send_one(self.bus, prepared, self.middleware)
        sent, domain, _ = prepared
        if not enqueued.accepted:
            self._raise_refusal(enqueued)
            sent = sent.model_copy(update={"action_id": enqueued.existing_id})
        return ActionHandle(self.bus, sent, domain, enqueued.tier, accepted=enqueued.accepted)

    async def enqueue_actions(
        self,
        actions: Sequence[DomainAction],
        *,
        delay: float | timedelta | None = None,
        run_at: datetime | None = None,
    ) -> list[ActionHandle]:
        """Put many actions in line, a hundred per script call and up to a thousand per round trip.

        All are checked before anything is written. When QueueUnavailable ends it half way, some are in line:
        send the same actions again, none becomes two. Two tasks that send lists of a hundred side by side
        are faster than one: one makes its actions while the other's are written.
        `delay` (seconds) or `run_at` postpone all of them.
        One that may not wait does not keep the others out: its handle has the reason in `refused` and raises
        it when asked for a result.
        """
        client_id, due = self.bus.replies.client_id, due_ms(delay, run_at, self.bus.clock.now_ms)
        prepared: list[Prepared] = []
        for action in actions:
            reply_to = "" if action.callback_action_type else client_id
            if len(prepared) % _BEFORE_OTHERS == _BEFORE_OTHERS - 1:
                await asyncio.sleep(0)
            if self.middleware or len(prepared) % _BEFORE_OTHERS == 0:  # where the policy is looked at
                prepared.append(await self._prepared(action, reply_to=reply_to, due_ms=due))
            else:
                prepared.append(self._prepare(action, reply_to=reply_to, due_ms=due))
        enqueued = await send(self.bus, prepared, self.middleware)
        return [
            ActionHandle(self.bus, sent, domain, said.tier, accepted=said.accepted, refused=error_of(said))
            for (sent, domain, _), said in zip(prepared, enqueued, strict=True)
        ]

    # -- request and response ---------------------------------------------------------------------------

    async def request(self, action: DomainAction, timeout: float = 30) -> DomainActionResponse:
        """Send and wait up to `timeout` seconds for the response of a success.

        Raises what went wrong: ActionTimeout, ActionFailed, ActionExpired, ActionCancelled, RateLimited,
        QueueUnavailable, InvalidAction. The time to wait travels as the action's deadline.
        """
        return raise_for(await self._exchange(action, timeout))

    async def send_action_pseudo_sync(
        self, action: DomainAction, timeout: float = 30
    ) -> DomainActionResponse | None:
        """Send and wait; the response, failed or not, or None when there was none in time."""
        try:
            return await self._exchange(action, timeout)
        except (ActionTimeout, QueueUnavailable, NotReplicated):
            return None
        except ActionError as error:  # refused for now: by a limit, a full backlog, a drain
            return DomainActionResponse.failed(action, detail_from_exception(error))

    async def _exchange(self, action: DomainAction, timeout: float) -> DomainActionResponse:
        if action.callback_action_type is not None:
            raise InvalidAction(
                f"{action.action_type} asks for a callback, so it has no response to wait for; send it with "
                "send_action_async_with_callback, or drop callback_action_type"
            )
        now = datetime.now(UTC)
        until = now + timedelta(seconds=delay_seconds(timeout, "timeout"))
        until = earliest(self._in_context(action).deadline, until) or until
        prepared = await self._prepared(
            action.copied_with({"deadline": until}), reply_to=self.bus.replies.client_id, waits=True
        )
        sent, domain, _ = prepared
        remaining = max((until - now).total_seconds(), 0.0)
        future = self.bus.replies.expect(domain, sent.action_id)
        try:
            await self.bus.replies.interrupt(domain)
            said = await self._send_one(prepared)
            if said.accepted:
                raw = await expect_within(self.bus, domain, sent, future, remaining)
            else:  # its answer may have been announced to another client, or long ago
                sent = sent.model_copy(update={"action_id": said.existing_id})
                raw = await wait_for_response(self.bus, domain, sent, remaining)
        except (RedisError, OSError) as error:
            raise unavailable(error) from error
        finally:
            self.bus.replies.forget(domain, prepared[0].action_id, future)
        return read_response(sent, raw, self.settings.payload_limits)

    # -- callback ---------------------------------------------------------------------------------------

    async def send_action_async_with_callback(
        self,
        action: DomainAction,
        callback_event_name: str | None = None,
        callback_context: str | None = None,
    ) -> None:
        """Send; callbacks of type `callback_event_name` arrive on `action.callback_queue_name`.

        Arguments override the action's own fields, and what is decided here is written into `action`, so
        that the caller knows where to listen. Raises ValueError when neither names the callback's type.
        """
        complete = self._prepare.with_callback(action, callback_event_name, callback_context)
        for name in ("callback_action_type", "callback_queue_name", "correlation_id", "origin_service"):
            setattr(action, name, getattr(complete, name))
        await self._send_one(await self._prepared(action))

    async def send_callback(self, action: DomainAction, data: Any, *, success: bool = True) -> None:
        """From inside a handler: tell whoever sent `action` how it is going. Without a callback: nothing."""
        built = callback_for(action, self.service_name, data, success=success)
        if built is None:
            return
        queue = action.callback_queue_name or ""
        domain = self._domain_of(action)
        if not self.queue_manager.is_callback_queue(domain, queue):
            raise InvalidAction(
                f"{queue!r} is not a callback list of {domain!r}; take the name from get_callback_queue"
            )
        raw = built.to_json(self.settings.payload_limits)
        try:
            await push(self.redis_client, queue, raw, self.bus.engine.callback_ttl_ms)
        except (RedisError, OSError) as error:
            raise unavailable(error) from error

    def listen_callbacks(self, queue: str, timeout: float | None = None) -> AsyncGenerator[DomainAction]:
        """Callbacks as they arrive, oldest first; ends after `timeout` seconds without one.

        One listener per list. A callback is removed when the next is asked for, so one whose handling was
        interrupted is delivered again. Its connection is closed with the generator (`contextlib.aclosing`).
        """
        return listen(self.redis_client, queue, timeout, self.settings.payload_limits)

    async def close(self) -> None:
        """Stop waiting for responses. The Redis client stays open: it belongs to whoever made it."""
        await self.bus.close()

    # -- what all of them share -------------------------------------------------------------------------

    def _in_context(self, action: DomainAction) -> DomainAction:
        context = current_context()
        return context.inherit(action) if context is not None else action

    def _domain_of(self, action: DomainAction) -> str:
        return self.queue_manager.registry.domain_for(action.action_type, action.target_service)

    async def _prepared(self, action: DomainAction, **how: Any) -> Prepared:
        """Prepared under the policy in force: a domain nobody has served yet begins with it."""
        for each in self.middleware:
            action = await each.before_enqueue(action)
        if self.bus.policy_is_old:
            await self.bus.refresh_policy()
        return self._prepare(action, **how)

    async def _send_one(self, prepared: Prepared) -> Enqueued:
        said = await send_one(self.bus, prepared, self.middleware)
        self._raise_refusal(said)
        return said

    def _raise_refusal(self, said: Enqueued) -> None:
        if said.refusal is not None and (refused := error_of(said)):
            raise refused

    async def _send(self, prepared: Sequence[Prepared]) -> list[Enqueued]:
        return await send(self.bus, prepared, self.middleware)
