"""What a process of this machine held when it died: its parent knows of the death, nobody need wait for the
lease to end.
"""

from __future__ import annotations

import hashlib
import os
import socket
from functools import cache
from pathlib import Path
from typing import Any

from ._engine import Engine, inspection, maintenance


def host_and_pid(pid: int | None = None) -> str:
    """How a worker of this machine's process ``pid`` (default: this one) is called within its id."""
    host = "".join(c if c.isalnum() or c in "-_." else "-" for c in socket.gethostname())[:40] or "host"
    return f"{host.lstrip('-_.') or 'host'}{_pids_of()}-{os.getpid() if pid is None else pid}"


@cache
def _pids_of() -> str:
    """Whose pids these are: machines and containers may share a name, and have processes of the same pid."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text()
        namespace = str(Path("/proc/self/ns/pid").readlink())
    except OSError:  # not Linux: the name has to do
        return ""
    return f"-{hashlib.blake2s((boot + namespace).encode(), digest_size=3).hexdigest()}"


async def take_back_from_process(engine: Engine, pid: int) -> int:
    """Take back what workers of this machine's dead process ``pid`` held; how many actions that were.

    Only for a parent that has waited for the process: what still runs loses its lease. After an error of
    Redis it can be repeated.
    """
    taken = 0
    for domain in await inspection.domains(engine):
        for worker_id in await _workers_of(engine, domain, host_and_pid(pid)):
            taken += await maintenance.take_back(engine, domain, worker_id)
    return taken


async def _workers_of(engine: Engine, domain: str, name: str) -> list[str]:
    every: list[Any] = await engine.redis.zrange(engine.keys.of("workers", domain), 0, -1)
    return [worker for worker in (raw.decode() for raw in every) if f".{name}." in worker]
