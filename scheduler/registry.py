"""Which tenant is on which tier, and who takes no new work: what ``enqueue`` goes by, not senders' claims.

A registration holds for all domains, those to come included, unless it names some. Each command says who
gives it and why, and is kept in the ``operations`` stream of every domain it changes. It is in force at the
next enqueue.

Registering a tenant for another tier leaves what waits where it is; moving it takes that along.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from . import moving, scripts
from .admission import Registration
from .batches import MAX_ITEMS
from .engine import Engine
from .errors import RegistryError, UnknownTierError, nearest
from .policy_store import PolicyStore

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]{0,127}")
_KEEP = "="


class Registry:
    """The tenants of one server."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._tenants_key = engine.keys.shared("tenants")
        self._draining_key = engine.keys.shared("draining")

    # -- tiers ------------------------------------------------------------------------------------------

    async def register(
        self, tenant_id: str, tier: str, *, by: str, why: str = "", domains: Sequence[str] = ()
    ) -> None:
        """Put a tenant on a tier, in all domains or in some. What waits of it stays where it is.

        Raises :class:`UnknownTierError` and :class:`RegistryError` before anything is written.
        """
        await self.register_many({tenant_id: tier}, by=by, why=why, domains=domains)

    async def register_many(
        self, tiers: Mapping[str, str], *, by: str, why: str = "", domains: Sequence[str] = ()
    ) -> None:
        """The same for many tenants, ``{tenant: tier}``; all of them are checked first."""
        known = await self.tiers()
        for tenant_id, tier in tiers.items():
            check_command(tenant_id, by)
            if tier not in known:
                raise UnknownTierError(tier, known)
        items = [(tenant_id, tier, _KEEP) for tenant_id, tier in tiers.items()]
        if not domains:
            for some in _slices(items):
                await self._engine.redis.hset(
                    self._tenants_key, mapping={tenant_id: tier for tenant_id, tier, _ in some}
                )
        await self._tell(items, "register", by, why, domains)

    async def move(
        self,
        tenant_id: str,
        tier: str,
        *,
        by: str,
        why: str = "",
        domains: Sequence[str] = (),
        most: int = MAX_ITEMS,
    ) -> int:
        """Put a tenant on a tier, its backlog included; how many actions were moved, ``most`` per step.

        The move is written down in every domain before it begins: should this process die, workers end it.
        Raises :class:`UnknownTierError` and :class:`RegistryError` before anything is written.
        """
        check_command(tenant_id, by)
        known = await self.tiers()
        if tier not in known:
            raise UnknownTierError(tier, known)
        where = await self.domains(domains)
        for domain in where:
            await moving.refuse_other(self._engine, domain, tenant_id, tier)
        movers = await moving.begin(self._engine, where, tenant_id, tier, by=by, why=why, most=most)
        if not domains:
            await self._engine.redis.hset(self._tenants_key, tenant_id, tier)
        return sum([await mover.run() for mover in movers])

    async def unregister(
        self, tenant_id: str, *, by: str, why: str = "", domains: Sequence[str] = ()
    ) -> bool:
        """Forget a tenant's tier: it counts as unregistered from now on. False when it had none."""
        check_command(tenant_id, by)
        shared = 0 if domains else await self._engine.redis.hdel(self._tenants_key, tenant_id)
        changed = await self._tell([(tenant_id, "-", _KEEP)], "unregister", by, why, domains)
        return bool(shared or changed)

    # -- drain ------------------------------------------------------------------------------------------

    async def drain(self, tenant_id: str, *, by: str, why: str = "", domains: Sequence[str] = ()) -> None:
        """Refuse new actions of a tenant; what waits is run, and what runs may be retried."""
        check_command(tenant_id, by)
        if not domains:
            await self._engine.redis.sadd(self._draining_key, tenant_id)
        await self._tell([(tenant_id, _KEEP, "1")], "drain", by, why, domains)

    async def resume(self, tenant_id: str, *, by: str, why: str = "", domains: Sequence[str] = ()) -> bool:
        """Take new actions of a tenant again; False when it was not draining."""
        check_command(tenant_id, by)
        shared = 0 if domains else await self._engine.redis.srem(self._draining_key, tenant_id)
        changed = await self._tell([(tenant_id, _KEEP, "0")], "end drain", by, why, domains)
        return bool(shared or changed)

    # -- looking ----------------------------------------------------------------------------------------

    async def get(self, tenant_id: str, domain: str = "") -> Registration | None:
        """What is registered of a tenant, in one domain or for all; None: nothing."""
        if domain:
            text = await self._engine.redis.hget(self._engine.keys.of("registry", domain), tenant_id)
            return None if text is None else Registration.read(text.decode())
        tier = await self._engine.redis.hget(self._tenants_key, tenant_id)
        draining = bool(await self._engine.redis.sismember(self._draining_key, tenant_id))
        if tier is None and not draining:
            return None
        return Registration(None if tier is None else tier.decode(), draining)

    async def tenants(self, domain: str = "") -> dict[str, Registration]:
        """All registrations by tenant, of one domain or those for all."""
        found: dict[str, Registration] = {}
        if domain:
            key = self._engine.keys.of("registry", domain)
            async for name, text in self._engine.redis.hscan_iter(key, count=MAX_ITEMS):
                if name != b"*":
                    found[name.decode()] = Registration.read(text.decode())
            return dict(sorted(found.items()))
        async for name, tier in self._engine.redis.hscan_iter(self._tenants_key, count=MAX_ITEMS):
            found[name.decode()] = Registration(tier.decode())
        for name in await self._engine.redis.smembers(self._draining_key):
            tenant_id = name.decode()
            found[tenant_id] = Registration(found[tenant_id].tier if tenant_id in found else None, True)
        return dict(sorted(found.items()))

    async def tiers(self) -> list[str]:
        """The tiers there are, best first: of the newest published policy, else of this process's own."""
        newest = await PolicyStore(self._engine).current()
        return (newest.parse() if newest else self._engine.policy).names()

    async def domains(self, wanted: Iterable[str] = ()) -> list[str]:
        """The domains a command changes: the ``wanted`` ones, else all. RegistryError for unknown ones."""
        known = await PolicyStore(self._engine).domains()
        for domain in wanted:
            if domain not in known:
                has = f"there are {', '.join(known)}" if known else "none was ever served"
                raise RegistryError(f"no domain {domain!r}{nearest(domain, known)}; {has}")
        return list(wanted) or known

    async def _tell(
        self, items: Sequence[tuple[str, str, str]], did: str, by: str, why: str, domains: Sequence[str]
    ) -> int:
        changed = 0
        for domain in await self.domains(domains):
            for some in _slices(items):
                tenant_id, tier, _ = some[0]
                what = f"{did} {tenant_id}" + (f" {tier}" if tier not in (_KEEP, "-") else "")
                what += f" and {len(some) - 1} more" if len(some) > 1 else ""
                args = [self._engine.clock.now_ms(), by, why, what]
                args += [part for item in some for part in item]
                changed += await scripts.run(
                    self._engine.redis, scripts.load("register"), self._engine.keys.root(domain), args
                )
        return changed


def _slices(items: Sequence[tuple[str, str, str]]) -> Iterable[Sequence[tuple[str, str, str]]]:
    return (items[at : at + MAX_ITEMS] for at in range(0, len(items), MAX_ITEMS))


def check_command(tenant_id: str, by: str) -> None:
    """Refuse an id that cannot be, and a command without an author."""
    if not _ID.fullmatch(tenant_id):
        raise RegistryError(
            f"{tenant_id[:140]!r} is no tenant id: use 1 to 128 of A-Z a-z 0-9 _ . - beginning with a letter "
            "or digit"
        )
    if not by.strip():
        raise RegistryError("say who gives the command: `by` is empty")
