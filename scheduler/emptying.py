"""A tier that a published policy lacks, and where its tenants go.

Whoever removes a tier that is in use says into which other one its tenants move (``publish(moves=…)``). The
newest version of the policy keeps that: a registration, a sender or a schedule that still names the old tier
means the other one from then on. What waits in the old tier moves as any tenant's backlog does
(:mod:`scheduler.moving`): first of all while both tiers are in force, so that its order stays. What runs
then finishes where it is, and what of it is to run again is moved by ``Maintenance``, until nothing is left.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .engine import Engine
from .errors import PolicyError, RegistryError, nearest
from .moving import EMPTIED, begin, emptied_tiers
from .occupied import all_there_is, occupied

_IN_A_ROUND = 20


def resolved(
    given: Mapping[str, str], before: Mapping[str, str], old: Sequence[str], new: Sequence[str]
) -> dict[str, str]:
    """Where tenants of every tier that is gone belong: what is ``given`` now, and what held ``before``.

    ``old`` and ``new`` are the tiers of both policies. Raises :class:`PolicyError` for a move that cannot be.
    """
    for tier, into in given.items():
        if tier in new:
            raise PolicyError(
                f"move {tier}={into}: the policy has the tier {tier!r}; only one that it lacks is emptied"
            )
        if tier not in old and tier not in before:
            raise PolicyError(
                f"move {tier}={into}: no tier {tier!r}{nearest(tier, [*old, *before])} is in force"
            )
        if into not in new:
            raise PolicyError(f"move {tier}={into}: the policy has no tier {into!r}{nearest(into, new)}")
    found = {tier: given.get(into, into) for tier, into in before.items()} | dict(given)
    return {tier: into for tier, into in found.items() if tier not in new and into in new}


async def move_out(
    engine: Engine, domain: str, tier: str, into: str, *, by: str, why: str, most: int | None = None
) -> bool:
    """Move who is in a tier into another: registered or not, with what waits. What runs stays.

    ``most`` tenants at once; whether there are more. Who is on another move is passed over: look again later.
    """
    there: set[str] = set()
    async for kind, scope, _ in all_there_is(engine, domain):
        tenant, _, name = scope.partition(":")
        if name == tier and kind in ("waiting", "scheduled", "registered"):
            there.add(tenant)
    for tenant in sorted(there)[:most]:
        try:
            [mover] = await begin(engine, [domain], tenant, into, by=by, why=why, source=tier)
        except RegistryError:
            continue
        await mover.run()
    return most is not None and len(there) > most


async def move_registered(engine: Engine, moves: Mapping[str, str]) -> None:
    """The same for what is registered for domains to come."""
    key = engine.keys.shared("tenants")
    async for tenant, tier in engine.redis.hscan_iter(key, count=500):
        if tier.decode() in moves:
            await engine.redis.hset(key, tenant, moves[tier.decode()])


async def go_on_emptying(engine: Engine, domain: str) -> bool:
    """A bounded round of moving out of tiers that are gone; whether there is more to be done at once."""
    for tier, into in (await emptied_tiers(engine, domain)).items():
        why = f"tier {tier} is gone"
        if await move_out(engine, domain, tier, into, by="the policy", why=why, most=_IN_A_ROUND):
            return True
        left = await occupied(engine, [domain], [tier])
        if not any(each.waiting or each.scheduled or each.running or each.registered for each in left):
            keys = engine.keys
            await engine.redis.unlink(keys.of("tags", domain, tier))
            await engine.redis.hdel(keys.of("fairness", domain), f"vt:{tier}", f"credit:{tier}")
            await engine.redis.hdel(keys.of("moving", domain), EMPTIED + tier.encode())
    return False
