"""What somebody who looks at the queue names and is not there. Part of the tree in `errors.py`."""

# The names are the contract's way: most of them say what happened and do not end in "Error".
# ruff: noqa: N818

from __future__ import annotations

from collections.abc import Iterable

from .errors import InvalidAction, NoobleError, did_you_mean, shorten
from .naming import closest


class UnknownTenant(InvalidAction):
    """No tenant of that name has left a trace."""

    code = "unknown_tenant"

    def __init__(self, tenant_id: str, domains: Iterable[str] = (), near: Iterable[str] = ()) -> None:
        where = ", ".join(domains) or "any domain"
        near = list(near)
        like = ", ".join(repr(name) for name in near)
        super().__init__(
            f"no trace of tenant {shorten(tenant_id)} in {where}{f'; did you mean {like}?' if like else ''}; "
            "a tenant is known while something of it waits, runs, or counts against a limit",
            details={"tenant_id": tenant_id, "near": list(near)},
        )


class UnknownActionType(InvalidAction):
    """No action of that type has been seen."""

    code = "unknown_action_type"

    def __init__(self, action_type: str, domains: Iterable[str] = (), known: Iterable[str] = ()) -> None:
        where = ", ".join(domains) or "any domain"
        near = [name for name in (closest(action_type, known),) if name]
        super().__init__(
            f"no action type {shorten(action_type)} has been seen in {where}"
            f"{did_you_mean(action_type, near)}; a type is known while a worker handles it, and "
            "while actions of it wait, are paused or ended lately",
            details={"action_type": action_type, "near": near},
        )


class ActionNotFound(NoobleError):
    """No action of that id is known (any more)."""

    code = "action_not_found"

    def __init__(
        self, action_id: str, domains: Iterable[str] = (), near: Iterable[str] = (), known_for_s: float = 300
    ) -> None:
        where = ", ".join(domains) or "any domain: none has been served on this server yet"
        like = ", ".join(repr(name) for name in near)
        end = f"; did you mean {like}?" if like else "."
        minutes = f"{known_for_s / 60:g} to {2 * known_for_s / 60:g} minutes"
        super().__init__(
            f"no action {shorten(action_id)} is known in {where}{end} An id is known while its action is "
            f"alive and for {minutes} after its end, and for as long as the newest outcomes of its domain "
            "tell of it",
            details={"action_id": action_id},
        )


class UnknownWorker(InvalidAction):
    """No worker of that id is registered."""

    code = "unknown_worker"
