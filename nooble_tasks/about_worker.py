"""What a worker tells Redis about itself: read by `nooble workers` and `nooble why`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .service import BaseService
    from .worker import BaseWorker


def about_worker(worker: BaseWorker, services: Iterable[BaseService]) -> dict[str, Any]:
    """Its service, slots and state; and the action types it handles, where that is known."""
    about = {"service": worker.service_name, "slots": worker.concurrency, "state": worker.phase.state}
    handled = [service.only_handles() for service in services]
    if None not in handled and not handles_itself(type(worker)):
        about["handles"] = sorted({name for names in handled for name in names or ()})
    return about


def handles_itself(kind: type[BaseWorker]) -> bool:
    """Whether a subclass takes actions past its services."""
    from .worker import BaseWorker

    return kind._handle_action is not BaseWorker._handle_action
