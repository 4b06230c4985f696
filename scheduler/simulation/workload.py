"""A scenario: groups of tenants, how they send, how long their actions run. Read from TOML and validated.

name = "a working day"
domain = "embedding"
duration = "24h"
start = 2030-01-07T00:00:00Z

[[groups]]
name = "free"
tier = "free"
tenants = 400
skew = 1.1
arrivals = { kind = "diurnal", per_minute = 40, peak_to_trough = 5 }
actions = [
    { type = "embedding.generate", share = 0.9, run_time = { kind = "exponential", mean = "800ms" } },
    { type = "embedding.index", share = 0.1, run_time = { kind = "lognormal", mean = "20s" } },
]
"""

from __future__ import annotations

import random
import re
import tomllib
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import accumulate
from operator import attrgetter
from pathlib import Path
from typing import Self, get_args

from pydantic import Field, ValidationError, field_validator, model_validator

from .arrivals import Arrival, Load, outside_the_calendar
from .draws import Arrivals, LongSpan, Part, RunTime
from .errors import ScenarioError
from .mistakes import explained

MAX_ARRIVALS = 5_000_000
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]{0,99}")
_TYPE = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*){1,4}")
_BEGINNING = datetime(2030, 1, 7, tzinfo=UTC)  # a Monday, 00:00 UTC


class ActionMix(Part):
    """One action type of a group: its ``share`` of the group's actions, and how long it runs."""

    type: str
    share: float = Field(default=1.0, gt=0, le=1_000_000, allow_inf_nan=False)
    run_time: RunTime

    @field_validator("type")
    @classmethod
    def _is_a_type(cls, value: str) -> str:
        if not _TYPE.fullmatch(value):
            raise ValueError(f"{value!r} is no action type; write it as 'embedding.generate'")
        return value


class Group(Part):
    """Tenants of one tier that behave alike, named ``<name>-1`` to ``<name>-<tenants>``.

    ``skew``: the k-th tenant sends in proportion to 1/k^skew (Zipf); 0: all alike.
    """

    name: str
    tier: str
    tenants: int = Field(default=1, ge=1, le=1_000_000)
    skew: float = Field(default=0.0, ge=0, le=10)
    arrivals: Arrivals
    actions: tuple[ActionMix, ...] = Field(min_length=1)

    @field_validator("name")
    @classmethod
    def _can_be_a_tenant(cls, value: str) -> str:
        if not _NAME.fullmatch(value):
            raise ValueError(f"{value!r} cannot be the beginning of a tenant id: letters, digits, _ . -")
        return value

    def generate(self, seed: int, length_ms: int, start_ms: int) -> Iterator[Arrival]:
        """Its arrivals, in time order; a stream of random numbers each for when, who and what."""
        when, who, what = (random.Random(f"{seed}/{self.name}/{use}") for use in ("when", "who", "what"))
        tenants = [f"{self.name}-{number}" for number in range(1, self.tenants + 1)]
        weights = list(accumulate(number**-self.skew for number in range(1, self.tenants + 1)))
        shares = list(accumulate(action.share for action in self.actions))
        for at_ms, count in self.arrivals.times(when, length_ms, start_ms):
            [tenant] = who.choices(tenants, cum_weights=weights)
            for _ in range(count):
                [action] = what.choices(self.actions, cum_weights=shares)
                run_ms = max(round(action.run_time.draw(what)), 1)
                yield Arrival(int(at_ms), tenant, self.tier, run_ms, action.type)


class Scenario(Part):
    """A whole load. ``start`` is the moment its calendar begins at."""

    name: str = ""
    domain: str
    duration: LongSpan
    start: datetime = _BEGINNING
    groups: tuple[Group, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _holds_together(self) -> Self:
        names = [group.name for group in self.groups]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two groups are named {name!r}; their tenants would be the same")
        for group in self.groups:
            for action in group.actions:
                if action.type.split(".")[0] != self.domain:
                    raise ValueError(
                        f"groups.{group.name}: {action.type!r} is no action type of domain {self.domain!r}"
                    )
        return self

    @model_validator(mode="after")
    def _is_in_the_calendar(self) -> Self:
        if wrong := outside_the_calendar(self.start_ms, self.start_ms + self.duration):
            raise ValueError(f"with start {self.start:%Y-%m-%d} and its duration it {wrong}")
        return self

    @property
    def start_ms(self) -> int:
        """When it begins, ms since 1970."""
        start = self.start if self.start.tzinfo else self.start.replace(tzinfo=UTC)
        return int(start.timestamp() * 1000)

    @classmethod
    def load(cls, path: Path | str) -> Scenario:
        """Read and validate a TOML file; raises :class:`ScenarioError`."""
        try:
            text = Path(path).read_text(encoding="utf-8")
        except OSError as error:
            raise ScenarioError(f"{path}: cannot be read: {error.strerror or error}") from error
        except UnicodeDecodeError as error:
            raise ScenarioError(f"{path}: not UTF-8 text") from error
        return cls.parse(text, source=str(path))

    @classmethod
    def parse(cls, text: str, *, source: str = "scenario") -> Scenario:
        """Validate TOML text; ``source`` names it in messages. Raises :class:`ScenarioError`."""
        try:
            return cls.model_validate(tomllib.loads(text))
        except (tomllib.TOMLDecodeError, RecursionError) as error:
            raise ScenarioError(f"{source}: not valid TOML: {error}") from error
        except ValidationError as error:
            raise ScenarioError("\n".join(explained(source, error.errors(), _tables()))) from error

    def generate(self, seed: int) -> Load:
        """The arrivals of one seed; raises :class:`ScenarioError` for more than can be played."""
        arrivals: list[Arrival] = []
        for group in self.groups:
            for arrival in group.generate(seed, self.duration, self.start_ms):
                arrivals.append(arrival)
                if len(arrivals) > MAX_ARRIVALS:
                    raise ScenarioError(f"more than {MAX_ARRIVALS:,} actions; shorten it or lower the rates")
        arrivals.sort(key=attrgetter("at_ms"))
        return Load(self.name, self.domain, self.start_ms, arrivals)


def _tables() -> dict[str, list[str]]:
    """The keys of every table, by the last name that leads to it: that of its list, or its kind."""
    found = {
        "": list(Scenario.model_fields),
        "groups": list(Group.model_fields),
        "actions": list(ActionMix.model_fields),
    }
    for part in Part.__subclasses__():
        if "kind" in part.model_fields:
            [kind] = get_args(part.model_fields["kind"].annotation)
            found[kind] = list(part.model_fields)
    return found
