"""One published policy, as the store keeps it."""

from __future__ import annotations

import json
import tomllib
from typing import Any, NamedTuple

from .tiers import Policy


class PolicyVersion(NamedTuple):
    """One published policy. ``at_ms``: when, in epoch milliseconds. ``by``: who; ``why``: in their words.
    ``moves``: tiers that are gone, each with the one its tenants belong to."""

    version: int
    text: str
    by: str
    at_ms: int
    why: str
    moves: dict[str, str] = {}  # noqa: RUF012

    def parse(self) -> Policy:
        """The policy itself; raises :class:`PolicyError` when this release of the engine cannot use it."""
        found = Policy.parse(self.text, source=f"version {self.version} of the policy")
        return found.with_moves(self.moves)

    def tiers(self) -> list[str]:
        """The names of its tiers, also where the policy is of a newer release."""
        return list(tomllib.loads(self.text).get("tiers", ()))

    def __str__(self) -> str:
        return f"version {self.version} by {self.by} ({self.why})"


class Published(NamedTuple):
    """What ``publish`` did. ``new`` is False when the newest version had this text already.

    ``domains``: those that run under it now.
    """

    version: PolicyVersion
    new: bool
    domains: list[str]


def read_version(entry: Any) -> PolicyVersion:
    """A version out of the store's stream."""
    entry_id, fields = entry
    said = {name.decode(): value.decode() for name, value in fields.items()}
    version = int(entry_id.split(b"-")[0])
    return PolicyVersion(
        version,
        said["text"],
        said["by"],
        int(said["at_ms"]),
        said["why"],
        json.loads(said.get("moves", "{}")),
    )
