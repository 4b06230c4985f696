"""Cancelling from anywhere: one action by its id, or all that match."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from redis.exceptions import RedisError

from ._engine import SchedulerError, inspection, matching
from .actions import DomainActionResponse
from .children import cancel_with_children
from .error_mapping import detail_from_exception
from .errors import ActionCancelled, InvalidAction
from .handle import unavailable
from .ids import check_action_id, check_action_type, check_domain, check_tenant_id, check_tier

if TYPE_CHECKING:
    from .bus import Bus


class CancelReport(NamedTuple):
    """``cancelled`` had not started; ``told``: their workers stop them; ``over``: ended meanwhile."""

    cancelled: int = 0
    told: int = 0
    over: int = 0

    def plus(self, said: Sequence[str]) -> CancelReport:
        """With the answers to some more."""
        return CancelReport(
            self.cancelled + said.count("cancelled") + said.count("parent"),
            self.told + said.count("running"),
            self.over + said.count("unknown"),
        )


class Cancellations:
    """`client.cancellations`. Raises InvalidAction for what cannot be a name, QueueUnavailable."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def one(self, action_id: str, *, domain: str | None = None) -> bool:
        """Cancel an action and what it has sent; False when it is over or unknown. Without `domain` every
        one is asked."""
        check_action_id(action_id)
        try:
            await self._bus.ready()
            for each in [check_domain(domain)] if domain else await inspection.domains(self._bus.engine):
                for tenant_id in await self._tenant_of(each, action_id):
                    item = (action_id, _response(action_id, "", tenant_id))
                    said = await cancel_with_children(self._bus.engine, each, [item])
                    return said[0] != "unknown"
        except (RedisError, OSError, SchedulerError) as error:
            raise unavailable(error) from error
        return False

    async def many(
        self,
        *,
        domains: Sequence[str] = (),
        tenant_id: str = "",
        tier: str = "",
        action_type: str = "",
        everything: bool = False,
        on_progress: Callable[[CancelReport], None] | None = None,
    ) -> CancelReport:
        """Cancel all that match and are not over, 100 per call of the server; no filter: `everything=True`.

        `on_progress` is told after every page how far it is. Cut off, call it again. What is enqueued
        meanwhile may be missed: pause the tenant or the type first where that matters.
        """
        if not (tenant_id or tier or action_type or everything):
            raise InvalidAction("say which actions: tenant_id=, tier=, action_type=, or everything=True")
        for value, check in (
            (tenant_id, check_tenant_id),
            (tier, check_tier),
            (action_type, check_action_type),
        ):
            if value:
                check(value)
        report = CancelReport()
        engine = self._bus.engine
        try:
            await self._bus.ready()
            for domain in [check_domain(each) for each in domains] or await inspection.domains(engine):
                pages = matching.matching(
                    engine, domain, tenant_id=tenant_id, tier=tier, action_type=action_type
                )
                async for page in pages:
                    items = [
                        (each.action_id, _response(each.action_id, each.action_type, each.tenant_id))
                        for each in page
                    ]
                    report = report.plus(await cancel_with_children(engine, domain, items))
                    if on_progress is not None:
                        on_progress(report)
        except (RedisError, OSError, SchedulerError) as error:
            raise unavailable(error) from error
        return report

    async def _tenant_of(self, domain: str, action_id: str) -> list[str]:
        engine = self._bus.engine
        place = await engine.redis.hget(engine.keys.of("actions", domain), action_id)
        return [] if place is None else [place.decode().partition(":")[0]]


def _response(action_id: str, action_type: str, tenant_id: str) -> bytes:
    error = detail_from_exception(ActionCancelled(action_id=action_id))
    return DomainActionResponse(
        success=False,
        error=error,
        action_id=action_id,
        action_type=action_type or None,
        tenant_id=tenant_id,
    ).to_json()
