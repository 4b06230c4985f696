"""What operators set for one tenant: its own weight, limits and concurrency, or a pause. Outranks any policy.

Each command names who gives it and why, and is kept in the ``operations`` stream of its domain. It ends the
tenant's holds, so that the next claims look at it under its new rules.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from . import scripts
from .cron_times import check_time_zone
from .errors import PolicyError, ScriptError, nearest
from .limit_rules import Rates, compile_limits
from .limits import Limit, Strategy
from .model import Override
from .schedule_errors import ScheduleError

if TYPE_CHECKING:
    from .engine import Engine

RULES = ("weight", "limits", "max_concurrency", "time_zone")
"""What an override can set besides the pause."""

_TRIES = 20
_OF_PAUSE = ("paused", "paused_by", "paused_at_ms", "paused_why")


class Said(NamedTuple):
    """Who gives a command, when and why."""

    by: str
    at_ms: int
    why: str


class _Rules(BaseModel):
    model_config = ConfigDict(extra="forbid")

    weight: float | None = Field(default=None, ge=0.001, le=1000.0)
    limits: Rates | None = None
    max_concurrency: int | None = Field(default=None, ge=0)
    time_zone: str | None = None

    @field_validator("time_zone")
    @classmethod
    def _known_zone(cls, zone: str) -> str:
        try:
            return check_time_zone(zone)
        except ScheduleError as error:
            raise ValueError(str(error)) from None


async def set_override(
    engine: Engine,
    domains: Iterable[str],
    tenant_id: str,
    *,
    by: str,
    why: str = "",
    weight: float | None = None,
    limits: Sequence[str | dict[str, str]] | None = None,
    max_concurrency: int | None = None,
    time_zone: str | None = None,
) -> None:
    """Give a tenant its own rules in these domains; what is None stays as it was.

    ``limits`` replace those of the tenant's tier (an empty list: none bind it) and are written as in
    ``tiers.toml``; ``max_concurrency`` 0 is any number; ``time_zone`` is where its calendar quotas begin,
    instead of the policy's. Raises :class:`PolicyError` for what cannot hold, and
    changes nothing then.
    """
    rules = {"weight": weight, "limits": limits, "max_concurrency": max_concurrency, "time_zone": time_zone}
    new = _checked(engine, tenant_id, **rules)

    def change(old: Override, said: Said) -> Override:
        return old._replace(
            **{name: value for name, value in new.items() if value is not None}, **said._asdict()
        )

    said = " ".join(f"{name}={_shown(value)}" for name, value in new.items() if value is not None)
    await _change_in(engine, domains, tenant_id, change, f"override {tenant_id} {said}", by, why)


async def clear_override(
    engine: Engine,
    domains: Iterable[str],
    tenant_id: str,
    *,
    by: str,
    why: str = "",
    rules: Sequence[str] = RULES,
) -> None:
    """Let the tenant's tier decide again, about these ``rules``; a pause stays."""
    for name in rules:
        if name not in RULES:
            raise PolicyError(f"an override has no rule {name!r}{nearest(name, RULES)}")

    def change(old: Override, said: Said) -> Override:
        nothing: dict[str, Any] = dict.fromkeys(rules)
        return old._replace(**nothing, **said._asdict())

    await _change_in(
        engine, domains, tenant_id, change, f"clear override {tenant_id} {' '.join(rules)}", by, why
    )


async def pause_tenant(
    engine: Engine, domains: Iterable[str], tenant_id: str, *, by: str, why: str = ""
) -> None:
    """Nothing of the tenant starts until it is resumed; what runs goes on."""

    def change(old: Override, said: Said) -> Override:
        return _paused(old, said)

    await _change_in(engine, domains, tenant_id, change, f"pause tenant:{tenant_id}", by, why)


async def resume_tenant(
    engine: Engine, domains: Iterable[str], tenant_id: str, *, by: str, why: str = ""
) -> list[str]:
    """Let a paused tenant start again, and end what handlers said for it; a sleeping worker is woken. Returns
    the domains where it was stopped."""

    def change(old: Override, _: Said) -> Override:
        return old._replace(paused=False)

    did = f"resume tenant:{tenant_id}"
    return await _change_in(engine, domains, tenant_id, change, did, by, why, resumed=True)


async def pause_for(engine: Engine, domain: str, tenant_id: str, said: Said, move_id: str) -> None:
    """The same as a part of a move that is under way, unless the tenant is paused already."""

    def change(old: Override, _: Said) -> Override | None:
        return None if old.paused else _paused(old, said)

    args = [0, said.by, said.why, f"pause tenant:{tenant_id}", move_id]
    await _change(engine, domain, tenant_id, change, args)


async def end_own_pause(engine: Engine, domain: str, tenant_id: str, said: Said, *, why: str) -> None:
    """End a pause that ``pause_for`` set; what anybody else has paused stays."""

    def change(old: Override, _: Said) -> Override | None:
        return old._replace(paused=False) if old.paused and _paused(old, said) == old else None

    await _change(engine, domain, tenant_id, change, [0, said.by, why, f"resume tenant:{tenant_id}", ""])


async def get_override(engine: Engine, domain: str, tenant_id: str) -> Override | None:
    """What operators have set for a tenant; None: nothing."""
    text = await engine.redis.hget(engine.keys.of("overrides", domain), tenant_id)
    return None if text is None else read_override(text)


async def list_overrides(engine: Engine, domain: str) -> dict[str, Override]:
    """All overrides of a domain by tenant."""
    texts = await engine.redis.hgetall(engine.keys.of("overrides", domain))
    return {tenant.decode(): read_override(text) for tenant, text in sorted(texts.items())}


async def paused_tenants(engine: Engine, domain: str) -> set[str]:
    """Tenants that operators have paused."""
    return {tenant for tenant, each in (await list_overrides(engine, domain)).items() if each.paused}


def read_override(text: bytes | str) -> Override:
    """An override as it is stored."""
    fields = json.loads(text)
    if fields.get("paused") and "paused_by" not in fields:  # as earlier releases stored it
        fields |= {f"paused_{name}": fields.get(name) for name in Said._fields}
    if "limits" in fields:
        fields["limits"] = tuple(
            Limit(name, Strategy(strategy), *rest) for name, strategy, *rest, _ in fields["limits"]
        )
    return Override(**fields)


def write_override(override: Override) -> str:
    """How an override is stored; empty when it says nothing."""
    if not (override.paused or override.has_rules):
        return ""
    left_out = set() if override.paused else set(_OF_PAUSE)
    left_out |= set() if override.has_rules else set(Said._fields)
    said = {
        name: value
        for name, value in override._asdict().items()
        if value is not None and name not in left_out
    }
    if override.limits is not None:
        said["limits"] = [limit.wire() for limit in override.limits]
    return json.dumps(said, separators=(",", ":"))


def require_author(by: str) -> None:
    """An operator's command without a name is refused."""
    if not by.strip():
        raise PolicyError("say who gives the command: `by` is empty")


def _checked(engine: Engine, tenant_id: str, **given: Any) -> dict[str, Any]:
    """The rules, validated; limits compiled."""
    if all(value is None for value in given.values()):
        raise PolicyError(f"override of tenant {tenant_id!r}: no rule given; one of {', '.join(RULES)}")
    try:
        rules = _Rules.model_validate({k: v for k, v in given.items() if v is not None})
        limits = rules.limits
        compiled = None if limits is None else compile_limits(limits, engine.policy.time_zone)
    except ValidationError as error:
        wrong = "; ".join(
            f"{'.'.join(map(str, item['loc']))}: {item['msg'].removeprefix('Value error, ')}"
            for item in error.errors()
        )
        raise PolicyError(f"override of tenant {tenant_id!r}: {wrong}") from error
    except ValueError as error:
        raise PolicyError(f"override of tenant {tenant_id!r}: limits: {error}") from error
    return {
        "weight": rules.weight,
        "limits": compiled,
        "max_concurrency": rules.max_concurrency,
        "time_zone": rules.time_zone,
    }


def _paused(old: Override, said: Said) -> Override:
    return old._replace(paused=True, paused_by=said.by, paused_at_ms=said.at_ms, paused_why=said.why)


def _shown(value: Any) -> str:
    return ",".join(limit.name for limit in value) if isinstance(value, tuple) else str(value)


async def _change_in(
    engine: Engine,
    domains: Iterable[str],
    tenant_id: str,
    change: Callable[[Override, Said], Override],
    did: str,
    by: str,
    why: str,
    *,
    resumed: bool = False,
) -> list[str]:
    """The domains where it made a difference."""
    require_author(by)
    said = [int(resumed), by, why, did, ""]
    return [domain for domain in domains if await _change(engine, domain, tenant_id, change, said)]


async def _change(
    engine: Engine,
    domain: str,
    tenant_id: str,
    change: Callable[[Override, Said], Override | None],
    said: list[Any],
) -> bool:
    """Read, change, write if nobody else wrote meanwhile; whether anything is different. Nothing is written
    where the change is None."""
    now_ms, (_, by, why, *_) = engine.clock.now_ms(), said
    for _ in range(_TRIES):
        known = await engine.redis.hget(engine.keys.of("overrides", domain), tenant_id) or b""
        old = read_override(known) if known else Override()
        changed = change(old, Said(by, now_ms, why))
        if changed is None:
            return False
        args = [now_ms, tenant_id, known, write_override(changed), *said]
        done = await scripts.run(engine.redis, scripts.load("override"), engine.keys.root(domain), args)
        if done:
            return changed != old or done == 2
    raise ScriptError("override", f"others keep changing tenant {tenant_id!r}; try again")
