"""Limits as they are written in a policy, and their compiled form."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated, Any

from limits import RateLimitItem, parse_many
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator

from .calendar import UNITS, period_name
from .limits import MAX_MOVING_WINDOW, Limit, Strategy

_DAY_S = 86_400
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_TYPE = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)+")
SCOPES = ("tenant", "tier", "domain")
"""What backpressure can be about besides a named limit; no limit has such a name."""


class LimitRule(BaseModel):
    """One limit: ``rate`` in the grammar of the ``limits`` package, and how it is counted.

    Without a strategy, a rate shorter than a day is a moving window, a day or longer a calendar quota.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    rate: str
    strategy: Strategy | None = None

    @field_validator("rate")
    @classmethod
    def _one_rate(cls, rate: str) -> str:
        try:
            items = parse_many(rate)
        except ValueError as error:
            raise ValueError(f"{rate!r} is not a rate such as '10/minute': {error}") from None
        if len(items) != 1:
            raise ValueError(f"{rate!r} holds {len(items)} rates; write one per list item")
        if items[0].amount < 1:
            raise ValueError(f"{rate!r} would hold every action for ever; pause the tenant instead")
        return rate

    def compile(self, time_zone: str) -> Limit:
        """The limit as the oracle and the scripts know it."""
        item: RateLimitItem = parse_many(self.rate)[0]
        unit = item.GRANULARITY.name
        name = f"{item.amount}/{unit}" if item.multiples == 1 else f"{item.amount}/{item.multiples} {unit}"
        strategy = self.strategy or (
            Strategy.CALENDAR if unit in UNITS and item.get_expiry() >= _DAY_S else Strategy.MOVING_WINDOW
        )
        if strategy is Strategy.CALENDAR and unit not in UNITS:
            raise ValueError(f"{self.rate!r}: a calendar quota needs a day, month or year")
        if strategy is Strategy.MOVING_WINDOW and item.amount > MAX_MOVING_WINDOW:
            raise ValueError(
                f"{self.rate!r}: a moving window remembers every start, at most {MAX_MOVING_WINDOW}; "
                "use strategy = 'sliding-window-counter'"
            )
        period = period_name(item.multiples, unit, time_zone) if strategy is Strategy.CALENDAR else ""
        return Limit(name, strategy, item.amount, item.get_expiry() * 1000, period)


def _texts_are_rates(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return tuple({"rate": item} if isinstance(item, str) else item for item in value)
    return value


Rates = Annotated[tuple[LimitRule, ...], BeforeValidator(_texts_are_rates)]
"""A list of limits; a text in it is a rate without a strategy."""


class NamedLimit(LimitRule):
    """A limit that all starts of these action types share, whoever's they are: an upstream service's."""

    action_types: tuple[str, ...] = Field(min_length=1)

    @field_validator("action_types")
    @classmethod
    def _of_one_domain(cls, action_types: tuple[str, ...]) -> tuple[str, ...]:
        for name in action_types:
            if not _TYPE.fullmatch(name):
                raise ValueError(f"{name!r} is not an action type such as 'embedding.generate'")
        domains = sorted({name.split(".")[0] for name in action_types})
        if len(domains) > 1:
            raise ValueError(f"types of several domains ({', '.join(domains)}); give each its own limit")
        return action_types

    @property
    def domain(self) -> str:
        """The domain of its action types."""
        return self.action_types[0].split(".")[0]


def check_name(name: str) -> None:
    """ValueError for what cannot be the name of a limit."""
    if not _NAME.fullmatch(name) or name in SCOPES:
        raise ValueError(
            f"{name!r} cannot be the name of a limit: letters, digits, '_', '.' and '-', "
            f"and not {', '.join(SCOPES)}"
        )


def compile_limits(rules: Iterable[LimitRule], time_zone: str) -> tuple[Limit, ...]:
    """Limits of one scope; ValueError when two of them count the same."""
    limits = tuple(rule.compile(time_zone) for rule in rules)
    seen: dict[str, Limit] = {}
    for limit in limits:
        other = seen.setdefault(limit.key, limit)
        if other is not limit:
            raise ValueError(
                f"the limits {other.name!r} and {limit.name!r} count the same starts; keep the smaller one"
            )
    return limits
