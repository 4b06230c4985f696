"""Operators' commands: rules of one tenant, pauses, and the log of who did what and why."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from redis.exceptions import RedisError

from ._engine import (
    Operation,
    Override,
    Pause,
    Registration,
    ScriptError,
    TenantLimits,
    UnknownTierError,
    known,
    overrides,
    pauses,
    usage,
)
from .errors import QueueUnavailable, UnknownDomain, UnknownTier
from .ids import check_action_type, check_domain, check_id, check_tenant_id
from .known_names import check_tenant, check_tier, check_type, domains_there

if TYPE_CHECKING:
    from .bus import Bus

_PROGRESS_EVERY_S = 0.2


class TenantStanding(NamedTuple):
    """A tenant in one domain: its limits per tier in use, what operators have set for it, its own tier."""

    domain: str
    tiers: list[TenantLimits]
    override: Override | None
    registration: Registration | None = None


class Operator:
    """Steers the queue through one bus: `client.operator`.

    Every command names who gives it (`by`) and `why`; both are kept, see `operations`. It is in force at the
    next claim, needs no restart and outranks what is published later. `domains` says where; without it, in
    every domain on the server. Names are checked before anything is written: UnknownDomain, UnknownTier,
    UnknownTenant with the nearest names, PolicyError for rules that cannot hold, QueueUnavailable when Redis
    does not answer. `unseen` allows a tenant that has left no trace yet.
    """

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._engine = bus.engine

    async def set_tenant(
        self,
        tenant_id: str,
        *,
        by: str,
        why: str = "",
        domains: Sequence[str] = (),
        weight: float | None = None,
        limits: Sequence[str | dict[str, str]] | None = None,
        max_concurrency: int | None = None,
        time_zone: str | None = None,
        unseen: bool = False,
    ) -> list[str]:
        """Give a tenant rules of its own in place of its tier's; what is None stays as it was.

        `limits` are written as in `tiers.toml`, none of them binds with an empty list; `max_concurrency` 0 is
        any number. `time_zone` is where its calendar quotas begin, such as Europe/Madrid. Returns the
        domains.
        """
        async with self._asking():
            where = await self._where(domains, tenant_id, unseen=unseen)
            rules: dict[str, Any] = {
                "weight": weight,
                "limits": limits,
                "max_concurrency": max_concurrency,
                "time_zone": time_zone,
            }
            await overrides.set_override(self._engine, where, tenant_id, by=by, why=why, **rules)
            return where

    async def clear_tenant(
        self,
        tenant_id: str,
        *,
        by: str,
        why: str = "",
        domains: Sequence[str] = (),
        rules: Sequence[str] = overrides.RULES,
    ) -> list[str]:
        """Let its tier decide again about these rules: of `set_tenant`, all by default. A pause stays."""
        async with self._asking():
            where = await self._where(domains, tenant_id)
            await overrides.clear_override(self._engine, where, tenant_id, by=by, why=why, rules=rules)
            return where

    async def pause_tenant(
        self, tenant_id: str, *, by: str, why: str = "", domains: Sequence[str] = (), unseen: bool = False
    ) -> list[str]:
        """Nothing of the tenant starts until it is resumed; what runs goes on. Returns the domains."""
        async with self._asking():
            where = await self._where(domains, tenant_id, unseen=unseen)
            await overrides.pause_tenant(self._engine, where, tenant_id, by=by, why=why)
            return where

    async def resume_tenant(
        self, tenant_id: str, *, by: str, why: str = "", domains: Sequence[str] = ()
    ) -> list[str]:
        """Let a paused tenant start again, and end what handlers said for it (backpressure). Returns the
        domains where it was stopped."""
        async with self._asking():
            where = await self._where(domains, tenant_id)
            return await overrides.resume_tenant(self._engine, where, tenant_id, by=by, why=why)

    # -- the registry: which tier a tenant is on --------------------------------------------------------

    async def register_tenant(
        self, tenant_id: str, tier: str, *, by: str, why: str = "", domains: Sequence[str] = ()
    ) -> list[str]:
        """Put a tenant on a tier, from its next enqueue on; what waits stays in its line.

        Without `domains` it holds for those to come, too.
        """
        check_tenant_id(tenant_id)
        check_id("tier", tier)
        async with self._asking():
            where = await self._served(domains)
            await self._bus.registry.register(tenant_id, tier, by=by, why=why, domains=domains)
            return where

    async def move_tenant(
        self,
        tenant_id: str,
        tier: str,
        *,
        by: str,
        why: str = "",
        domains: Sequence[str] = (),
        on_progress: Callable[[int, int], None] | None = None,
    ) -> int:
        """Put a tenant on a tier together with what waits of it, in order; how many actions were moved.

        What runs finishes where it is. `on_progress` gets how many are moved, of how many, a few times a
        second. Should this process be interrupted, workers end the move by themselves.
        """
        check_id("tier", tier)
        async with self._asking():
            await self._where(domains, tenant_id)
            where = await self._served(domains)
            total = await known.waiting_elsewhere(self._engine, where, tenant_id, tier)
            moving_it = asyncio.create_task(
                self._bus.registry.move(tenant_id, tier, by=by, why=why, domains=domains)
            )
            try:
                while on_progress and not (await asyncio.wait((moving_it,), timeout=_PROGRESS_EVERY_S))[0]:
                    left = await known.waiting_elsewhere(self._engine, where, tenant_id, tier)
                    on_progress(max(total - left, 0), total)
                return await moving_it
            finally:
                moving_it.cancel()
                await asyncio.wait((moving_it,))

    async def unregister_tenant(
        self, tenant_id: str, *, by: str, why: str = "", domains: Sequence[str] = ()
    ) -> bool:
        """Forget a tenant's tier; False when it had none."""
        async with self._asking():
            await self._where(domains, tenant_id)
            return await self._bus.registry.unregister(tenant_id, by=by, why=why, domains=domains)

    async def drain_tenant(
        self, tenant_id: str, *, by: str, why: str = "", domains: Sequence[str] = ()
    ) -> None:
        """Refuse new actions of a tenant; what waits is run."""
        async with self._asking():
            await self._where(domains, tenant_id)
            await self._bus.registry.drain(tenant_id, by=by, why=why, domains=domains)

    async def undrain_tenant(
        self, tenant_id: str, *, by: str, why: str = "", domains: Sequence[str] = ()
    ) -> bool:
        """Take new actions of a tenant again; False when it was not draining."""
        async with self._asking():
            await self._where(domains, tenant_id)
            return await self._bus.registry.resume(tenant_id, by=by, why=why, domains=domains)

    # -- pauses -----------------------------------------------------------------------------------------

    async def pause(
        self, what: str, *, by: str, why: str = "", domains: Sequence[str] = (), unseen: bool = False
    ) -> list[str]:
        """Pause `"tier:<tier>"`, `"type:<action type>"` or `"domain"`; returns where it was not yet.

        UnknownActionType for a type of which nothing has been seen, unless that is meant: `unseen`.
        """
        async with self._asking():
            where = await self._of(what, domains)
            if what.startswith("type:") and not unseen:
                await check_type(self._engine, where, what.removeprefix("type:"))
            pause = pauses.pause
            return [each for each in where if await pause(self._engine, [each], what, by=by, why=why)]

    async def resume(self, what: str, *, by: str, why: str = "", domains: Sequence[str] = ()) -> list[str]:
        """The opposite; returns the domains where it was stopped, by `pause` or by handlers (backpressure).

        Also `"limit:<name>"` of a limit that action types share, for which handlers said not now.
        """
        async with self._asking():
            where = await self._of(what, domains)
            resume = pauses.resume
            done = [each for each in where if await resume(self._engine, [each], what, by=by, why=why)]
            if what.startswith("type:") and not done:
                await check_type(self._engine, where, what.removeprefix("type:"))
            return done

    # -- looking ----------------------------------------------------------------------------------------

    async def tenant(self, tenant_id: str, *, domains: Sequence[str] = ()) -> list[TenantStanding]:
        """How a tenant stands in each domain that knows it."""
        async with self._asking():
            found = []
            for domain in await self._where(domains, tenant_id):
                tiers = await usage.limits_in_use(self._engine, domain, tenant_id)
                override = await overrides.get_override(self._engine, domain, tenant_id)
                registration = await self._bus.registry.get(tenant_id, domain)
                if tiers or override or registration:
                    found.append(TenantStanding(domain, tiers, override, registration))
            return found

    async def paused(self, *, domains: Sequence[str] = ()) -> dict[str, list[Pause]]:
        """What is paused, by domain; of tenants too, as `tenant:<tenant>`."""
        async with self._asking():
            found = {}
            for domain in await domains_there(self._engine, domains):
                own = await overrides.list_overrides(self._engine, domain)
                found[domain] = await pauses.list_pauses(self._engine, domain) + [
                    Pause(f"tenant:{tenant}", each.paused_by, each.paused_at_ms, each.paused_why)
                    for tenant, each in own.items()
                    if each.paused
                ]
            return found

    async def operations(
        self, *, domains: Sequence[str] = (), count: int = 100
    ) -> list[tuple[str, Operation]]:
        """The latest commands with their domain, newest first, at most `count`."""
        async with self._asking():
            found = [
                (domain, operation)
                for domain in await domains_there(self._engine, domains)
                for operation in await pauses.operations(self._engine, domain, count)
            ]
            return sorted(found, key=lambda each: -each[1].at_ms)[:count]

    # -- names ------------------------------------------------------------------------------------------

    async def _served(self, wanted: Sequence[str]) -> list[str]:
        served = await self._bus.policies.domains()
        for domain in wanted:
            if check_domain(domain) not in served:
                raise UnknownDomain(domain, served)
        return list(wanted) or served

    async def _where(self, domains: Sequence[str], tenant_id: str, *, unseen: bool = False) -> list[str]:
        check_tenant_id(tenant_id)
        where = await domains_there(self._engine, domains)
        if not unseen:
            await check_tenant(self._engine, where, tenant_id)
        return where

    async def _of(self, what: str, domains: Sequence[str]) -> list[str]:
        kind, _, name = what.partition(":")
        if kind == "type":
            action_type = check_action_type(name)
            domains = domains or [self._bus.queue_manager.registry.domain_for(action_type)]
        where = await domains_there(self._engine, domains)
        if kind == "tier":
            await check_tier(self._engine, where, name)
        return where

    @asynccontextmanager
    async def _asking(self) -> AsyncIterator[None]:
        try:
            await self._bus.ready()
            await self._bus.policies.catch_up()
            yield
        except UnknownTierError as error:
            raise UnknownTier(error.tier, error.known) from None
        except (RedisError, OSError, ScriptError) as error:
            reason = str(error) or type(error).__name__
            message = f"Redis cannot take the command now: {reason}; try again when it answers"
            raise QueueUnavailable(message) from error
