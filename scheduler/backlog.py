"""How much of one tenant may wait in one tier: ``max_backlog`` of a policy."""

from __future__ import annotations

import re
from typing import Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(B|KB|MB|GB|KiB|MiB|GiB)?", re.IGNORECASE)
_UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}


def bytes_of(value: Any) -> Any:
    """A number of bytes, written as a number or as ``64MB``."""
    if not isinstance(value, str):
        return value
    match = _SIZE.fullmatch(value.strip())
    if match is None:
        raise ValueError(f"{value!r} is no size; write bytes, or a text such as '64MB'")
    return int(float(match[1]) * _UNITS[(match[2] or "").lower()])


class Backlog(BaseModel):
    """At most so many ``actions`` of a tenant wait (ready, held, scheduled), 0 for any number.

    ``bytes``: so much memory of the server its line may take, as the server estimates it; 0 for any amount.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    actions: int = Field(default=0, ge=0, strict=True)
    bytes: int = Field(default=0, ge=0)


def backlog_of(value: Any) -> Any:
    """A plain number is one of actions; sizes may be texts."""
    if isinstance(value, int) and not isinstance(value, bool):
        return {"actions": value}
    if isinstance(value, dict) and "bytes" in value:
        return {**value, "bytes": bytes_of(value["bytes"])}
    return value


Backlogged = BeforeValidator(backlog_of)
