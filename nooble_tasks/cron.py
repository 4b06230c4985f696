"""Schedules declared in code.

class ReportService(BaseService):
    @handles("report.daily")
    @cron("0 6 * * *", time_zone="Europe/Madrid", tenants=["acme", "globex"])
    async def daily(self, data: Any) -> None: ...
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, TypeVar

from ._engine import Schedule, ScheduleStore, Ticker, checked_schedule
from .bus import Bus
from .errors import ConfigurationError
from .ids import check_id, check_tenant_id
from .logs import get_logger
from .schedule_template import scheduled_payload, timing
from .service import BaseService

Method = TypeVar("Method", bound=Callable[..., Any])

_MARK = "__nooble_cron__"


@dataclass(frozen=True, slots=True)
class Declaration:
    """What one `@cron` says."""

    name: str | None
    tenants: tuple[str, ...]
    data: Any
    timing: Schedule

    def schedules(self, action_type: str, origin_service: str, limits: Any) -> list[Schedule]:
        """One schedule per tenant: `<name>.<tenant_id>`."""
        return [self._of(tenant_id, action_type, origin_service, limits) for tenant_id in self.tenants]

    def _of(self, tenant_id: str, action_type: str, origin_service: str, limits: Any) -> Schedule:
        schedule_id = check_id("schedule_id", f"{self.name or action_type}.{tenant_id}")
        tier = self.timing.tier or None
        payload = scheduled_payload(
            schedule_id,
            action_type,
            tenant_id,
            self.data,
            tier=tier,
            origin_service=origin_service,
            limits=limits,
        )
        made = replace(
            self.timing,
            schedule_id=schedule_id,
            action_type=action_type,
            tenant_id=tenant_id,
            payload=payload,
        )
        return checked_schedule(made)


def cron(
    expression: str | None = None,
    *,
    every: float | timedelta | None = None,
    time_zone: str = "UTC",
    tenant_id: str | None = None,
    tenants: Sequence[str] = (),
    data: Any = None,
    tier: str | None = None,
    misfire: str = "once",
    grace: float | timedelta = 60,
    overlap: str = "allow",
    name: str | None = None,
) -> Callable[[Method], Method]:
    """Enqueue the action of an `@handles` method again and again, for one tenant or each of several.

    `expression`: five cron fields, six with seconds first, or `@daily` and the like, in `time_zone`; or
    `every` so many seconds, counted from 1970. `misfire` says what becomes of due times that were attended to
    more than `grace` seconds late: `skip`, `once` (the latest only) or `all`. `overlap="skip"` passes a due
    time over while the action of an earlier one waits or runs. `name` (default: the action type) begins the
    schedule's id, `<name>.<tenant_id>`; two `@cron` of one method need different ones.

    Raises ScheduleError, ConfigurationError or InvalidId where it stands. Workers register what their code
    declares; see docs/cron.md for what happens when a deployment changes it.
    """
    everybody = (*((tenant_id,) if tenant_id is not None else ()), *tenants)
    if isinstance(tenants, str) or not everybody:
        raise ConfigurationError("@cron needs to know for whom: tenant_id='acme' or tenants=['acme', ...]")
    if len(set(everybody)) != len(everybody):
        raise ConfigurationError("@cron names a tenant twice")
    declaration = Declaration(
        name if name is None else check_id("name", name),
        tuple(check_tenant_id(each) for each in everybody),
        data,
        timing(expression, every, time_zone, tier, misfire, grace, overlap),
    )

    def mark(method: Method) -> Method:
        setattr(method, _MARK, (*getattr(method, _MARK, ()), declaration))
        return method

    return mark


def declared_schedules(service: BaseService) -> list[Schedule]:
    """All that the `@cron` marks of a service say; raises ConfigurationError when two have the same id."""
    found: dict[str, Schedule] = {}
    settings = service.app_settings
    for action_type, handler in type(service)._handlers.items():
        method = getattr(type(service), handler.method_name)
        for declaration in getattr(method, _MARK, ()):
            limits = settings.payload_limits
            for each in declaration.schedules(action_type, settings.service_name, limits):
                if each.schedule_id in found:
                    raise ConfigurationError(
                        f"{type(service).__name__} declares two schedules {each.schedule_id}; give one "
                        "@cron of the two a name"
                    )
                found[each.schedule_id] = each
    return list(found.values())


_DECLARE_EVERY_S = 30.0
_DECLARE_NOTHING_EVERY_S = 300.0  # what an earlier release of the service declared goes by this, in the end


class ServiceTicker:
    """A worker's part in schedules: registers what its services declare, fires what is due."""

    def __init__(
        self, bus: Bus, services: dict[str, BaseService], worker_id: Callable[[], str], *, fires: bool
    ) -> None:
        self._bus = bus
        self._owners = {domain: service.app_settings.service_name for domain, service in services.items()}
        self._declared = {domain: declared_schedules(service) for domain, service in services.items()}
        self._worker_id = worker_id
        domains = list(services) if fires else []
        every_s = _DECLARE_EVERY_S if any(self._declared.values()) else _DECLARE_NOTHING_EVERY_S
        self._ticker = Ticker(bus.engine, domains, declare=self._declare, declare_every_s=every_s)
        self._log = get_logger(next(iter(self._owners.values())))
        self._told: set[str] = set()

    def start(self) -> None:
        """Begin."""
        self._ticker.start()

    def nudge(self) -> None:
        """A due time may have come nearer."""
        self._ticker.nudge()

    async def stop(self) -> None:
        """End."""
        await self._ticker.stop()

    async def _declare(self) -> None:
        store = ScheduleStore(self._bus.engine)
        for domain, schedules in self._declared.items():
            said = await store.declare(domain, self._worker_id(), self._owners[domain], schedules)
            for verb, names in (("new", said.created), ("changed", said.updated), ("removed", said.removed)):
                if names:
                    self._log.info("%s schedules in %s: %s", verb, domain, ", ".join(names))
            refused = set(said.refused) - self._told
            if refused:
                self._told |= refused
                self._log.warning(
                    "schedules of %s not taken from the code, as some were made at run time under these ids "
                    "or there are too many: %s",
                    domain,
                    ", ".join(sorted(refused)),
                )
