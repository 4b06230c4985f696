"""The names of the queue as services see them, and its verbs."""

from __future__ import annotations

from ._engine import Keys
from .ids import DEFAULT_REGISTRY, ServiceRegistry, check_domain, check_id


class QueueManager:
    """Names of streams, lists, group and consumers.

    Streams are `<domain>:<tenant_id>:<tier>`; a service's "action stream" is the set of those of its domain.
    Every part is checked, so a name can be taken apart again and nobody reaches another's keys by an id.
    """

    def __init__(
        self,
        environment: str = "development",
        *,
        keys: Keys | None = None,
        registry: ServiceRegistry | None = None,
    ) -> None:
        self.environment = environment
        self.keys = keys or Keys()
        self.registry = registry or DEFAULT_REGISTRY

    def get_domain(self, service: str) -> str:
        """The domain of a service: its registered one, else its name without `_service`."""
        return self.registry.domain_of_service(service)

    def get_stream(self, domain: str, tenant_id: str, tier: str) -> str:
        """The stream of one tenant's actions."""
        return self.keys.stream(
            check_domain(domain), check_id("tenant_id", tenant_id), check_id("tier", tier)
        )

    def get_service_action_stream(self, service: str, tenant_id: str = "*", tier: str = "*") -> str:
        """The stream of one tenant at a service; without tenant or tier, the pattern of all of them."""
        domain = self.get_domain(service)
        parts = [name if name == "*" else check_id("id", name) for name in (tenant_id, tier)]
        return self.keys.stream(domain, *parts)

    def get_response_queue(self, service: str, action_id: str) -> str:
        """The list that holds the response to one action sent to `service`."""
        return self.keys.response(self.get_domain(service), check_id("action_id", action_id))

    def get_callback_queue(
        self, service: str, origin_service: str, event: str, context: str | None = None
    ) -> str:
        """The list on which `origin_service` gets callbacks from `service`."""
        return self.keys.callback(
            self.get_domain(service),
            check_id("origin_service", origin_service),
            check_id("event", event),
            check_id("callback_context", context) if context else "",
        )

    def is_callback_queue(self, domain: str, name: str) -> bool:
        """Whether `name` is a callback list of `domain`: the only names a worker pushes callbacks to."""
        return name.startswith(self.keys.of("callback", domain) + ":")

    def get_consumer_group(self) -> str:
        """The one consumer group of every stream."""
        return "workers"

    def get_consumer_name(self, service: str, suffix: str) -> str:
        """The id of one worker of a service, as it stands in the worker registry."""
        return f"{check_id('service', service)}.{check_id('suffix', suffix)}"


DomainQueueManager = QueueManager
