"""What a handler raises to steer its own action: these are instructions to the worker, not failures."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, cast

from .errors import HandlerSignal, InvalidAction, shorten
from .times import aware, delay_seconds

_SCOPE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


class Retry(HandlerSignal):
    """The handler asks for another attempt."""

    code = "retry"
    retryable = True

    def __init__(self, delay: float | timedelta | None = None, reason: str | None = None) -> None:
        """`delay` in seconds; None leaves it to the retry policy."""
        seconds = None if delay is None else delay_seconds(delay)
        super().__init__(reason, details={"delay_s": seconds})

    @property
    def delay_s(self) -> float | None:
        """Seconds to the next attempt, None for the policy's choice."""
        return cast("float | None", self.details.get("delay_s"))


class Snooze(HandlerSignal):
    """The handler puts the action off without spending an attempt."""

    code = "snooze"

    def __init__(self, delay: float | timedelta, reason: str | None = None) -> None:
        super().__init__(reason, details={"delay_s": delay_seconds(delay)})

    @property
    def delay_s(self) -> float:
        """Seconds until the action is due again."""
        return float(self.details["delay_s"])


class Reject(HandlerSignal):
    """The handler refuses the action for good: it goes to the dead letters without another attempt."""

    code = "rejected"

    def __init__(self, reason: str | None = None, *, details: Mapping[str, Any] | None = None) -> None:
        super().__init__(reason, details=details)


class Backpressure(HandlerSignal):
    """The handler says not now, because an upstream service said so, and spends no attempt.

    The action is next in its line again. Nothing of the scope starts before `until`; what runs goes on.
    """

    code = "backpressure"
    retryable = True

    def __init__(
        self,
        until: datetime | float | timedelta,
        scope: str = "tenant",
        reason: str | None = None,
    ) -> None:
        """`until` is an aware datetime, or the seconds from now.

        `scope`: whose work waits. `tenant`: this tenant's in its tier and domain, `tier`: the whole tier's,
        `domain`: the domain's; or the name of one of the policy's limits: all action types that share it.
        """
        if not isinstance(scope, str) or not _SCOPE.fullmatch(scope):
            raise InvalidAction(
                f"backpressure scope {shorten(scope)} is neither tenant, tier, domain nor the name of a limit"
            )
        if isinstance(until, datetime):
            details: dict[str, Any] = {"until": aware(until, "until").isoformat(), "delay_s": None}
        else:
            details = {"until": None, "delay_s": delay_seconds(until, "until")}
        super().__init__(reason, details={**details, "scope": scope})

    @property
    def scope(self) -> str:
        """Whose work waits: `tenant`, `tier`, `domain`, or the name of a limit."""
        return cast("str", self.details["scope"])

    def until_ms(self, now_ms: int) -> int:
        """When work may start again, in Unix milliseconds."""
        until = self.details["until"]
        if until is not None:
            return int(datetime.fromisoformat(until).timestamp() * 1000)
        return now_ms + int(float(self.details["delay_s"]) * 1000)
