"""The policy: tiers, their limits and how they share, read from ``config/tiers.toml`` and validated.

A policy that cannot be used raises :class:`PolicyError`, which names the file, the key and, for an unknown
key, the nearest valid one.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self
from zoneinfo import ZoneInfo

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    field_validator,
    model_validator,
)

from .backlog import Backlog, Backlogged
from .errors import PolicyError, UnknownTierError, nearest
from .limit_rules import LimitRule, NamedLimit, Rates, check_name, compile_limits
from .limits import Limit
from .policy_checks import MAX_TIERS, MAX_TIMEOUT_S, check_names, check_ranks, worded


class _OverrideError(ValueError):
    """What is wrong with a domain's override of a tier; its keys are named like the rest."""

    def __init__(self, domain: str, cause: ValidationError) -> None:
        super().__init__(f"domains.{domain}: {cause}")
        self.domain = domain
        self.cause = cause


class TierPolicy(BaseModel):
    """What tenants of one tier may do.

    ``priority`` 1 is served first. ``guaranteed_share`` is the part of starts the tier gets while it has
    startable work. ``limits`` are of each tenant, ``tier_limits`` of all together. ``timeout`` is in seconds.
    ``max_concurrency`` is per tenant, 0 for none.
    ``fair_by``: tenants are charged one unit per start (``count``) or their measured run time (``run_time``).
    ``over_limit``: what no limit of its tenant lets start now waits (``hold``) or is refused (``refuse``).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    priority: int = Field(ge=1, strict=True)
    guaranteed_share: float = Field(default=0.0, ge=0.0, le=1.0, strict=True, allow_inf_nan=False)
    weight: float = Field(default=1.0, ge=0.001, le=1000.0, strict=True, allow_inf_nan=False)
    limits: Rates = ()
    tier_limits: Rates = ()
    max_concurrency: int = Field(default=0, ge=0, strict=True)
    timeout: float = Field(default=60.0, gt=0.0, le=MAX_TIMEOUT_S, strict=True, allow_inf_nan=False)
    fair_by: Literal["count", "run_time"] = "count"
    over_limit: Literal["hold", "refuse"] = "hold"
    max_backlog: Annotated[Backlog, Backlogged] = Backlog()
    domains: dict[str, dict[str, Any]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _overrides_hold(self) -> Self:
        check_names("domains", self.domains)
        for domain, override in self.domains.items():
            if "domains" in override:
                raise ValueError(f"domains.{domain}: the rules of one domain have no domains of their own")
            try:
                self.for_domain(domain)
            except ValidationError as error:
                raise _OverrideError(domain, error) from error
        return self

    def for_domain(self, domain: str) -> TierPolicy:
        """This tier with the overrides of one domain applied."""
        override = self.domains.get(domain)
        if override is None:
            return self
        base = self.model_dump(exclude={"domains"})
        return TierPolicy.model_validate(base | override)


class Policy(BaseModel):
    """All tiers. ``time_zone`` is where calendar quotas reset; ``domains`` has limits of whole domains,
    ``limits`` those that several action types share. ``unregistered``: a tenant nobody registered gets the
    ``default`` tier, or the one it has ``claimed``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    default_tier: str
    unregistered: Literal["default", "claimed"] = "claimed"
    time_zone: str = "UTC"
    tiers: dict[str, TierPolicy] = Field(min_length=1, max_length=MAX_TIERS)
    domains: dict[str, Rates] = Field(default_factory=dict)
    limits: dict[str, NamedLimit] = Field(default_factory=dict)
    _text: str = PrivateAttr(default="")
    _source: str = PrivateAttr(default="")
    _moves: dict[str, str] = PrivateAttr(default_factory=dict)

    @property
    def moves(self) -> dict[str, str]:
        """Tiers that are gone, each with the one its tenants belong to. Published beside the text."""
        return self._moves

    def with_moves(self, moves: Mapping[str, str]) -> Policy:
        """The same policy; it knows where tenants of tiers that are gone belong."""
        self._moves = dict(moves)
        return self

    @property
    def text(self) -> str:
        """The TOML it was read from; empty when it was made otherwise."""
        return self._text

    @property
    def source(self) -> str:
        """Where the text came from: a file's name, or words for it."""
        return self._source

    def same_as(self, other: Policy) -> bool:
        """Whether both say the same, however they are written."""
        return self.model_dump() == other.model_dump()

    @field_validator("time_zone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except Exception:
            raise ValueError(
                f"unknown time zone {value!r}; write an IANA name such as Europe/Madrid"
            ) from None
        return value

    @field_validator("limits")
    @classmethod
    def _names_are_words(cls, value: dict[str, NamedLimit]) -> dict[str, NamedLimit]:
        for name in value:
            check_name(name)
        return value

    @model_validator(mode="after")
    def _holds_together(self) -> Self:
        if self.default_tier not in self.tiers:
            raise ValueError(
                f"default_tier {self.default_tier!r} is not a tier{nearest(self.default_tier, self.tiers)}"
            )
        check_names("tiers", self.tiers)
        check_names("domains", self.domains)
        for domain in ["", *sorted({name for tier in self.tiers.values() for name in tier.domains})]:
            tiers = {name: tier.for_domain(domain) for name, tier in self.tiers.items()}
            check_ranks(tiers, domain)
            for tier in tiers.values():
                compile_limits(tier.limits, self.time_zone)
                compile_limits(tier.tier_limits, self.time_zone)
        for named in self.limits.values():
            named.compile(self.time_zone)
        for rules in self.domains.values():
            compile_limits(rules, self.time_zone)
        return self

    @classmethod
    def load(cls, path: Path | str) -> Policy:
        """Read and validate a TOML file; raises :class:`PolicyError`."""
        try:
            text = Path(path).read_text(encoding="utf-8")
        except OSError as error:
            raise PolicyError(f"{path}: cannot be read: {error.strerror or error}") from error
        except UnicodeDecodeError as error:
            raise PolicyError(f"{path}: not UTF-8 text") from error
        return cls.parse(text, source=str(path))

    @classmethod
    def parse(cls, text: str, *, source: str = "policy") -> Policy:
        """Validate TOML text; ``source`` names it in messages. Raises :class:`PolicyError`."""
        try:
            policy = cls.model_validate(tomllib.loads(text))
        except (tomllib.TOMLDecodeError, RecursionError) as error:
            raise PolicyError(f"{source}: not valid TOML: {error}") from error
        except ValidationError as error:
            raise PolicyError("\n".join(_explain(source, item) for item in error.errors())) from error
        policy._text, policy._source = text, source
        return policy

    def names(self, domain: str = "") -> list[str]:
        """Tier names, best priority (in ``domain``) first."""
        return sorted(self.tiers, key=lambda name: self.tiers[name].for_domain(domain).priority)

    def tier(self, name: str, domain: str = "") -> TierPolicy:
        """The tier as it is in ``domain``; raises :class:`UnknownTierError`."""
        try:
            return self.tiers[name].for_domain(domain)
        except KeyError:
            raise UnknownTierError(name, self.names()) from None

    def compile(self, domain: str, version: int = 0) -> CompiledPolicy:
        """What the scripts need of it for one domain. ``version``: under which number it was published."""
        tiers = []
        for name in self.names(domain):
            tier = self.tier(name, domain)
            limits = compile_limits(tier.limits, self.time_zone)
            tiers.append(
                CompiledTier(
                    name,
                    round(tier.guaranteed_share * 1_000_000),
                    tier.weight,
                    limits,
                    tier.max_concurrency,
                    tier.fair_by,
                    compile_limits(tier.tier_limits, self.time_zone),
                    tier.max_backlog.actions,
                    tier.over_limit == "refuse",
                )
            )
        limits = compile_limits(self.domains.get(domain, ()), self.time_zone)
        named = tuple(
            CompiledNamed(name, each.action_types, each.compile(self.time_zone))
            for name, each in self.limits.items()
            if each.domain == domain
        )
        return CompiledPolicy(tuple(tiers), limits, version, named)


class CompiledTier(NamedTuple):
    """One tier for the scripts and the oracle: ``share`` in millionths."""

    name: str
    share: int = 0
    weight: float = 1.0
    limits: tuple[Limit, ...] = ()
    max_concurrency: int = 0
    fair_by: str = "count"
    tier_limits: tuple[Limit, ...] = ()
    max_backlog: int = 0
    refuses: bool = False


class CompiledNamed(NamedTuple):
    """A limit that several action types share."""

    name: str
    action_types: tuple[str, ...]
    limit: Limit


class CompiledPolicy:
    """The policy of one domain in the form of the scripts and the oracle."""

    __slots__ = ("domain_limits", "named", "periods", "tiers", "version")

    def __init__(
        self,
        tiers: tuple[CompiledTier, ...],
        domain_limits: tuple[Limit, ...] = (),
        version: int = 0,
        named: tuple[CompiledNamed, ...] = (),
    ) -> None:
        self.tiers = tiers
        self.domain_limits = domain_limits
        self.version = version
        self.named = named
        every = [*domain_limits, *(each.limit for each in named)]
        every += [limit for tier in tiers for limit in (*tier.limits, *tier.tier_limits)]
        self.periods: tuple[str, ...] = tuple(sorted({limit.period for limit in every if limit.period}))

    def to_json(self) -> str:
        """Compact JSON for the ``policy`` key. A limit is as ``Limit.wire`` gives it."""
        return json.dumps(
            {
                "version": self.version,
                "tiers": [
                    {
                        "name": t.name,
                        "share": t.share,
                        "weight": t.weight,
                        "limits": [limit.wire() for limit in t.limits],
                        "tier_limits": [limit.wire() for limit in t.tier_limits],
                        "concurrency": t.max_concurrency,
                        "by_run_time": t.fair_by == "run_time",
                    }
                    for t in self.tiers
                ],
                "limits": [limit.wire() for limit in self.domain_limits],
                "named": [
                    {"name": n.name, "types": n.action_types, "limits": [n.limit.wire()]} for n in self.named
                ],
                "periods": list(self.periods),
            },
            separators=(",", ":"),
        )


def _explain(source: str, item: Any, inside: str = "") -> str:
    path = inside + ".".join(str(part) for part in item["loc"])
    wrong = item.get("ctx", {}).get("error")
    if isinstance(wrong, _OverrideError):
        of_domain = f"{path}.domains.{wrong.domain}."
        return "\n".join(_explain(source, each, of_domain) for each in wrong.cause.errors())
    if item["type"] == "extra_forbidden":
        model = TierPolicy if path.startswith("tiers.") else Policy
        if path.startswith("limits."):
            model = NamedLimit  # type: ignore[assignment]
        elif "max_backlog" in item["loc"]:
            model = Backlog  # type: ignore[assignment]
        elif len(item["loc"]) > 2 and {"limits", "tier_limits"} & {*item["loc"]}:
            model = LimitRule  # type: ignore[assignment]
        return f"{source}: unknown key {path!r}{nearest(str(item['loc'][-1]), model.model_fields)}"
    return f"{source}: {path + ': ' if path else ''}{worded(item)}"
