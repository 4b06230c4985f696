"""Moving a tenant to another tier together with what waits of it: nothing is lost, its order is kept.

A small backlog moves in one step. For a larger one the tenant is paused first, so that nothing of it starts
out of order, and moved a bounded number at a time; new actions go on into its old tier meanwhile and are
moved, too. The step that finds nothing left registers it for the new tier. Then it is resumed.

What runs finishes where it is, and so do its retries. What was used of limits counts on in the new tier. A
move that was interrupted is finished by the same call again; to another tier it is refused until then.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from . import scripts
from .engine import MAX_ITEMS, Engine
from .errors import RegistryError, ScriptError, UnknownTierError
from .overrides import get_override, pause_tenant, resume_tenant
from .registry import Registry, check_command

_REASON = "is being moved to tier "


async def move(
    engine: Engine,
    tenant_id: str,
    tier: str,
    *,
    by: str,
    why: str = "",
    domains: Sequence[str] = (),
    most: int = MAX_ITEMS,
) -> int:
    """Put a tenant on a tier, its backlog included; how many actions were moved.

    ``most``: at most about so many per step. Raises :class:`UnknownTierError` and :class:`RegistryError`
    before anything is written.
    """
    registry = Registry(engine)
    check_command(tenant_id, by)
    known = await registry.tiers()
    if tier not in known:
        raise UnknownTierError(tier, known)
    moved = 0
    for domain in await registry.domains(domains):
        moved += await _move_in(engine, domain, tenant_id, tier, known, by, why, most)
    await registry.register(tenant_id, tier, by=by, why=why, domains=domains)
    return moved


async def _move_in(
    engine: Engine, domain: str, tenant_id: str, tier: str, known: Sequence[str], by: str, why: str, most: int
) -> int:
    registered = await Registry(engine).get(tenant_id, domain)
    own = registered.tier if registered and registered.tier in known else engine.policy.default_tier
    # The tier that new actions go to is emptied last: the step that does it registers the new one.
    tiers = sorted((name for name in known if name != tier), key=lambda name: name == own)
    streams = [engine.keys.stream(domain, tenant_id, name) for name in tiers]
    if sum([await engine.redis.xlen(stream) for stream in streams]) >= most:
        await _pause(engine, domain, tenant_id, tier, by)
    moved = 0
    for name in tiers:
        cursor: Any = "0"
        while True:
            args = [
                engine.clock.now_ms(),
                tenant_id,
                name,
                tier,
                most,
                cursor,
                int(name == tiers[-1]),
                by,
                why,
            ]
            reply = await scripts.run(engine.redis, scripts.load("move"), engine.keys.root(domain), args)
            if reply[0] == b"busy":
                raise RegistryError(
                    f"tenant {tenant_id!r} is on its way to tier {reply[1].decode()!r} in {domain}; "
                    "finish that move first: give the same command with that tier"
                )
            if reply[0] == b"key":
                raise ScriptError("move", f"the key {reply[1].decode()} is not a stream; DEL or RENAME it")
            moved += reply[0]
            cursor = reply[1]
            if not reply[2]:
                break
            await _pause(engine, domain, tenant_id, tier, by)
    override = await get_override(engine, domain, tenant_id)
    if override and override.paused and override.paused_why == _REASON + tier:
        await resume_tenant(engine, [domain], tenant_id, by=by, why=f"moved to tier {tier}")
    return moved


async def _pause(engine: Engine, domain: str, tenant_id: str, tier: str, by: str) -> None:
    override = await get_override(engine, domain, tenant_id)
    if not override or not override.paused:
        await pause_tenant(engine, [domain], tenant_id, by=by, why=_REASON + tier)
