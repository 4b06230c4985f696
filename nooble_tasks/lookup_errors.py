"""What somebody who looks at the queue names and is not there. Part of the tree in `errors.py`."""

from __future__ import annotations

from collections.abc import Iterable

from .errors import InvalidAction, shorten


class UnknownTenant(InvalidAction):
    """No tenant of that name has left a trace."""

    code = "unknown_tenant"

    def __init__(self, tenant_id: str, domains: Iterable[str] = (), near: Iterable[str] = ()) -> None:
        where = ", ".join(domains) or "any domain"
        like = ", ".join(repr(name) for name in near)
        super().__init__(
            f"no trace of tenant {shorten(tenant_id)} in {where}{f'; did you mean {like}?' if like else ''}; "
            "a tenant is known while something of it waits, runs, or counts against a limit",
            details={"tenant_id": tenant_id},
        )
