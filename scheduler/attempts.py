"""What is kept of an action's failed attempts: a line of JSON each, written when the attempt ends.

The scripts append such lines (``scripts/lib/attempts.lua``) and never look into them.
"""

from __future__ import annotations

import json
from typing import NamedTuple

from .model import Finish

ERROR_KEPT = 500
"""Characters of an error that are kept per attempt."""


class AttemptError(NamedTuple):
    """How one attempt failed. ``worker``: who ran it; ``died``: it died with it."""

    attempt: int
    ended_ms: int
    worker: str
    error: str
    run_time_us: int = 0
    died: bool = False


def attempt_line(finish: Finish, now_ms: int, worker_id: str) -> str:
    """The line about an attempt that failed; ``read_attempts`` reads it."""
    return json.dumps(
        {
            "attempt": finish.action.attempt,
            "ended_ms": now_ms,
            "worker": worker_id,
            "error": finish.reason[:ERROR_KEPT],
            "run_time_us": finish.run_time_us,
        }
    )


def read_attempts(lines: bytes) -> list[AttemptError]:
    """The attempts in a letter's `attempts` field; what this version cannot read is left out."""
    attempts = []
    for line in lines.decode("utf-8", "replace").split("\n"):
        try:
            attempts.append(AttemptError(**json.loads(line)))
        except (ValueError, TypeError):
            continue
    return attempts
