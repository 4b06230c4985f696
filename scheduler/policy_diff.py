"""What two policies say differently, key by key, as plain values. Pure: no I/O."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from pydantic import BaseModel

from .tiers import Policy, TierPolicy


class PolicyChange(NamedTuple):
    """One key that differs. ``domain`` is empty where it holds for every domain without a rule of its own,
    ``tier`` where it is no tier's. None: the key is not there; a limit is text such as ``10/minute``."""

    domain: str
    tier: str
    key: str
    before: Any
    after: Any


class PolicyDiff(NamedTuple):
    """What publishing a policy in place of another changes. ``added`` and ``removed`` are tiers."""

    added: list[str]
    removed: list[str]
    changes: list[PolicyChange]

    @property
    def empty(self) -> bool:
        """Whether both say the same."""
        return not (self.added or self.removed or self.changes)


def diff(old: Policy | None, new: Policy) -> PolicyDiff:
    """What changes when ``new`` takes the place of ``old`` (None: of nothing)."""
    before = old.names() if old else []
    added = [name for name in new.names() if name not in before]
    removed = [name for name in before if name not in new.tiers]
    changes = list(_top(old, new))
    for name in [*new.names(), *removed]:
        if name not in removed:
            changes += _tier(name, old.tiers.get(name) if old else None, new.tiers[name])
    return PolicyDiff(added, removed, changes)


def _top(old: Policy | None, new: Policy) -> Iterator[PolicyChange]:
    """Keys outside the tiers; a table's keys by themselves."""
    for key in type(new).model_fields:
        if key == "tiers":
            continue
        a, b = plain(getattr(old, key)) if old else None, plain(getattr(new, key))
        if isinstance(b, dict):
            a = a or {}
            for name in dict.fromkeys([*a, *b]):
                if a.get(name) != b.get(name):
                    yield _of_table(key, name, a.get(name), b.get(name))
        elif a != b:
            yield PolicyChange("", "", key, a, b)


def _of_table(key: str, name: str, before: Any, after: Any) -> PolicyChange:
    if key == "domains":
        return PolicyChange(name, "", "limits", before, after)
    return PolicyChange("", "", f"{key}.{name}", before, after)


def _tier(name: str, old: TierPolicy | None, new: TierPolicy) -> Iterator[PolicyChange]:
    everywhere = dict(_keys(old, new))
    for key, (before, after) in everywhere.items():
        yield PolicyChange("", name, key, before, after)
    if old is None:
        for domain in new.domains:
            for key, (_, after) in _keys(new, new.for_domain(domain)):
                yield PolicyChange(domain, name, key, None, after)
        return
    for domain in sorted({*old.domains, *new.domains}):
        for key, pair in _keys(old.for_domain(domain), new.for_domain(domain)):
            if pair != everywhere.get(key):
                yield PolicyChange(domain, name, key, *pair)


def _keys(old: TierPolicy | None, new: TierPolicy) -> Iterator[tuple[str, tuple[Any, Any]]]:
    """Keys that differ, with both values; of a new tier those that it sets."""
    for key in type(new).model_fields:
        if key == "domains":
            continue
        after = plain(getattr(new, key))
        if old is None:
            if key in new.model_fields_set:
                yield key, (None, after)
        elif (before := plain(getattr(old, key))) != after:
            yield key, (before, after)


def plain(value: Any) -> Any:
    """A value of a policy as JSON knows it; a limit without a strategy of its own is its rate."""
    if isinstance(value, BaseModel):
        fields = {key: plain(item) for key, item in value if item is not None}
        return fields["rate"] if list(fields) == ["rate"] else fields
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value
