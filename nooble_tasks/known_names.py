"""Names that somebody gives who looks at the queue or steers it: are they there, and which are near?"""

from __future__ import annotations

from collections.abc import Sequence

from ._engine import Engine, inspection, known, usage
from .errors import UnknownDomain
from .ids import check_action_type, check_domain, check_id, check_tenant_id
from .lookup_errors import UnknownActionType, UnknownTenant


async def domains_there(engine: Engine, wanted: Sequence[str]) -> list[str]:
    """These domains, all without any. Raises UnknownDomain."""
    there = await inspection.domains(engine)
    for domain in wanted:
        if check_domain(domain) not in there:
            raise UnknownDomain(domain, there)
    return list(wanted) or there


async def check_tenant(engine: Engine, domains: Sequence[str], tenant_id: str) -> None:
    """Raises UnknownTenant for one that has left no trace in any of these domains."""
    check_tenant_id(tenant_id)
    for domain in domains:
        if await known.tenant_is_known(engine, domain, tenant_id):
            return
    raise UnknownTenant(tenant_id, domains, await known.tenants_like(engine, domains, tenant_id))


async def check_tier(engine: Engine, domains: Sequence[str], tier: str) -> None:
    """Raises the engine's UnknownTierError for a tier that the policy of a domain does not have."""
    check_id("tier", tier)
    for domain in domains:
        await usage.check_tier(engine, domain, tier)


async def check_type(engine: Engine, domains: Sequence[str], action_type: str) -> None:
    """Raises UnknownActionType for one that was seen in none of these domains."""
    check_action_type(action_type)
    seen: set[str] = set()
    for domain in domains:
        seen |= await known.action_types(engine, domain)
    if action_type not in seen:
        raise UnknownActionType(action_type, domains, seen)
