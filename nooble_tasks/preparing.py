"""What happens to an action before it is sent: it is completed, checked and serialised, once."""

from __future__ import annotations

from typing import Any

from ._engine import INHERITED, NewAction
from .actions import DomainAction
from .bus import Bus
from .context import current_context
from .errors import InvalidAction
from .idempotency import action_id_for
from .ids import check_id

Prepared = tuple[DomainAction, str, NewAction]
"""An action, the domain it goes to, and how the engine gets it."""


class Preparer:
    """Prepares the actions of one service; raises InvalidAction and what else is wrong with one."""

    def __init__(self, service_name: str, bus: Bus) -> None:
        self._service_name = service_name
        self._origin = {"origin_service": service_name}
        self._keys = bus.keys
        self._queues = bus.queue_manager
        self._domain_for = bus.queue_manager.registry.domain_for
        self._limits = bus.settings.payload_limits

    def __call__(
        self, action: DomainAction, *, reply_to: str = "", due_ms: int = 0, waits: bool = False
    ) -> Prepared:
        """`waits`: the sender waits for the response. `reply_to`, `due_ms`: as in `NewAction`."""
        chosen, context = action.tenant_tier, current_context()
        if context is not None:
            action = context.inherit(action)
        domain = self._domain_for(action.action_type, action.target_service)
        called_back = action.callback_queue_name is not None or action.callback_action_type is not None
        if called_back and not waits:
            action = self._with_known_queue(action, domain)
        if action.origin_service is None and action.idempotency_key is None and not waits:
            action = action.copied_with(self._origin)
        elif update := self._completion(action, domain, waits):
            action = action.copied_with(update)
        tier, deadline = action.tenant_tier, action.deadline
        new = NewAction(
            action.action_id,
            action.action_type,
            action.tenant_id,
            chosen or (INHERITED + tier if tier else ""),
            action.to_json(self._limits),
            due_ms,
            # 0 would mean that there is none
            0 if deadline is None else max(int(deadline.timestamp() * 1000), 1),
            reply_to,
            f"{action.tenant_id}:{action.unique_key}" if action.unique_key else "",
        )
        return action, domain, new

    def _completion(self, action: DomainAction, domain: str, waits: bool) -> dict[str, Any]:
        update: dict[str, Any] = {}
        if action.origin_service is None:
            update["origin_service"] = self._service_name
        action_id = action.action_id
        if action.idempotency_key is not None:
            update["action_id"] = action_id = action_id_for(domain, action.tenant_id, action.idempotency_key)
        if waits:
            update["callback_queue_name"] = self._keys.response(domain, action_id)
            update["correlation_id"] = action.correlation_id or action_id
        return update

    def _with_known_queue(self, action: DomainAction, domain: str) -> DomainAction:
        """The action with a callback list where it asks for callbacks; no other name is taken on trust."""
        name = action.callback_queue_name
        own_response = self._keys.response(domain, action.action_id)
        known = name is None or self._queues.is_callback_queue(domain, name)
        if not known and (action.callback_action_type or name != own_response):
            raise InvalidAction(
                f"callback_queue_name {name!r} is not a callback list of {domain!r}; leave it out, or "
                "take it from QueueManager.get_callback_queue"
            )
        if action.callback_action_type is not None and name is None:
            return self.with_callback(action, None, None)
        return action

    def with_callback(self, action: DomainAction, event: str | None, context: str | None) -> DomainAction:
        """The action asking for callbacks of type `event` (default: its own) on a list of its sender."""
        event = event or action.callback_action_type
        if not event:
            raise ValueError("name the callback: callback_event_name=..., or action.callback_action_type")
        domain = self._domain_for(action.action_type, action.target_service)
        origin = action.origin_service or self._service_name
        queue = action.callback_queue_name
        if queue is None or context is not None:
            last = check_id("callback_context", context) if context else ""
            queue = self._keys.callback(domain, origin, event, last)
        return action.model_copy(
            update={
                "callback_action_type": event,
                "callback_queue_name": queue,
                "correlation_id": action.correlation_id or action.action_id,
                "origin_service": origin,
            }
        )
