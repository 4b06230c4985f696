"""What the queue looks like, for people, dashboards and gateways. Read-only, apart from the hot path."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from redis.exceptions import RedisError

from ._engine import (
    SchedulerError,
    SortBy,
    TenantLimits,
    Tenants,
    TierStanding,
    UnknownTierError,
    Why,
    crowd,
    inspection,
    known,
    reasons,
    shares,
    usage,
)
from .errors import QueueUnavailable, UnknownTier
from .ids import check_action_id, check_domain, check_id, check_tenant_id
from .known_names import check_tenant, check_tier, check_type, domains_there
from .lookup_errors import ActionNotFound

if TYPE_CHECKING:
    from .bus import Bus


class Inspector:
    """Looks at the queue through one bus: `client.inspector`.

    Every method raises QueueUnavailable when Redis does not answer, and InvalidId for an id that cannot be.
    """

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def why(self, action_id: str, domain: str | None = None) -> Why:
        """Why an action has not started yet, where it runs, or how it ended; `.sentence` says it in words.

        Without `domain` every domain on the server is asked. Raises ActionNotFound.
        """
        check_action_id(action_id)
        if domain is not None:
            check_domain(domain)
        engine = self._bus.engine
        async with self._asking():
            domains = [domain] if domain is not None else await inspection.domains(engine)
            found = await reasons.find(engine, domains, action_id)
            near = [] if found else await reasons.ids_like(engine, domains, action_id)
        if not found:
            raise ActionNotFound(action_id, domains, near, engine.duplicate_window_ms / 1000)
        return found[0]

    async def limits(self, tenant_id: str, domain: str, *, tier: str | None = None) -> TenantLimits:
        """How every limit of a tenant in `domain` stands: used, remaining, when there is more.

        Without `tier` it is the registered one, else the default tier. Times are epoch milliseconds. A tenant
        never seen has used nothing. Raises UnknownTier. `rate_limit_headers` makes HTTP fields of it.
        """
        check_tenant_id(tenant_id)
        check_domain(domain)
        if tier is not None:
            check_id("tier", tier)
        async with self._asking():
            if tier is None:
                registration = await self._bus.registry.get(tenant_id, domain)
                tier = (registration and registration.tier) or self._bus.policy.default_tier
            return await usage.tenant_limits(self._bus.engine, domain, tenant_id, tier)

    async def limits_in_use(self, tenant_id: str, domain: str) -> list[TenantLimits]:
        """The same for every tier in which the tenant has used, runs or waits for something."""
        check_tenant_id(tenant_id)
        check_domain(domain)
        async with self._asking():
            return await usage.limits_in_use(self._bus.engine, domain, tenant_id)

    async def tenants(
        self,
        domain: str,
        *,
        tier: str | None = None,
        sort: SortBy = SortBy.WAITING,
        top: int = 20,
        held_only: bool = False,
    ) -> Tenants:
        """The `top` tenants of a domain that have something waiting, running or just ended, most first.

        The server is asked page by page, memory is that of `top` rows. `sort="oldest"` looks at the head of
        every line and costs most. Raises UnknownTier.
        """
        check_domain(domain)
        async with self._asking():
            if tier is not None:
                await usage.check_tier(self._bus.engine, domain, tier)
            return await crowd.tenants(
                self._bus.engine, domain, tier=tier, sort=SortBy(sort), top=top, held_only=held_only
            )

    async def tiers(self, domain: str) -> list[TierStanding]:
        """How every tier of a domain stands, best first: promised, got, waiting, running, how long it takes.

        Nothing for a domain that no worker has served.
        """
        check_domain(domain)
        async with self._asking():
            return await shares.tier_standings(self._bus.engine, domain)

    async def domains(self) -> list[str]:
        """The domains that were ever served or sent something on this server."""
        async with self._asking():
            return await inspection.domains(self._bus.engine)

    async def check(
        self, *, domains: Sequence[str] = (), tenant_id: str = "", tier: str = "", action_type: str = ""
    ) -> list[str]:
        """The domains that are meant, all without any; whatever else is named is there.

        Else UnknownDomain, UnknownTenant, UnknownTier or UnknownActionType, with the names that are near.
        """
        engine = self._bus.engine
        async with self._asking():
            where = await domains_there(engine, domains)
            if tenant_id:
                await check_tenant(engine, where, tenant_id)
            if tier:
                await check_tier(engine, where, tier)
            if action_type:
                await check_type(engine, where, action_type)
            return where

    async def knows_tenant(self, tenant_id: str, domain: str) -> bool:
        """Whether a tenant has left a trace in a domain, or was registered or given rules there."""
        check_tenant_id(tenant_id)
        check_domain(domain)
        async with self._asking():
            return await known.tenant_is_known(self._bus.engine, domain, tenant_id)

    async def tenants_like(self, tenant_id: str, domains: Sequence[str]) -> list[str]:
        """Known tenants whose name resembles `tenant_id`, nearest first, at most three."""
        async with self._asking():
            return await known.tenants_like(self._bus.engine, domains, tenant_id)

    @asynccontextmanager
    async def _asking(self) -> AsyncIterator[None]:
        try:
            await self._bus.ready()
            yield
        except UnknownTierError as error:
            raise UnknownTier(error.tier, error.known) from None
        except (RedisError, OSError, SchedulerError) as error:
            reason = str(error) or type(error).__name__
            raise QueueUnavailable(
                f"Redis cannot be asked now: {reason}; try again when it answers"
            ) from error
