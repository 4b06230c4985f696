"""What a handler raises to steer its own action: these are instructions to the worker, not failures."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Literal, cast

from .errors import HandlerSignal, InvalidAction, shorten
from .times import aware, delay_seconds

BackpressureScope = Literal["tenant", "tier", "domain"]


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
    """The handler says not now for this tenant, and spends no attempt."""

    code = "backpressure"
    retryable = True

    def __init__(
        self,
        until: datetime | float | timedelta,
        scope: BackpressureScope = "tenant",
        reason: str | None = None,
    ) -> None:
        """`until` is an aware datetime, or the seconds from now."""
        if scope not in ("tenant", "tier", "domain"):
            raise InvalidAction(f"backpressure scope {shorten(scope)} is none of tenant, tier, domain")
        if isinstance(until, datetime):
            details: dict[str, Any] = {"until": aware(until, "until").isoformat(), "delay_s": None}
        else:
            details = {"until": None, "delay_s": delay_seconds(until, "until")}
        super().__init__(reason, details={**details, "scope": scope})

    @property
    def scope(self) -> BackpressureScope:
        """Whose work waits: this tenant's in its tier and domain, the whole tier's, or the domain's."""
        return cast("BackpressureScope", self.details["scope"])

    def until_ms(self, now_ms: int) -> int:
        """When work may start again, in Unix milliseconds."""
        until = self.details["until"]
        if until is not None:
            return int(datetime.fromisoformat(until).timestamp() * 1000)
        return now_ms + int(float(self.details["delay_s"]) * 1000)
