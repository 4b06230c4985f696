"""A service whose handlers run in processes; those must be able to import it."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from nooble_tasks import BaseService, ExecutionContext, Reject, RetryPolicy, handles


class Numbers(BaseModel):
    of: list[int]


class Where(BaseModel):
    total: int
    pid: int
    tenant_id: str


class CrunchingService(BaseService):
    retry_policy = RetryPolicy(max_attempts=3, first_delay_s=0)

    @handles("probe.crunch", run_in="process")
    @staticmethod
    def crunch(data: Numbers, context: ExecutionContext) -> Where:
        return Where(total=sum(data.of), pid=os.getpid(), tenant_id=context.tenant_id)

    @staticmethod
    @handles("probe.busy", run_in="process", timeout=30)
    def busy(data: str) -> None:
        """Tells its pid in a file and never ends by itself."""
        Path(data).write_text(str(os.getpid()))
        while True:
            time.sleep(60)

    @handles("probe.hasty", run_in="process", timeout=0.3, retry=RetryPolicy(max_attempts=1))
    @staticmethod
    def hasty() -> None:
        time.sleep(60)

    @handles("probe.suicide", run_in="process")
    @staticmethod
    def suicide(data: str) -> str:
        """Dies at the first attempt."""
        marker = Path(data)
        if not marker.exists():
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return "survived"

    @handles("probe.doomed", run_in="process")
    @staticmethod
    def doomed() -> None:
        os._exit(3)

    @handles("probe.refuse", run_in="process")
    @staticmethod
    def refuse(data: str) -> None:
        if data == "odd":
            raise OddError(1, 2)
        raise Reject("not ours")

    @handles("probe.unwritable", run_in="process")
    @staticmethod
    def unwritable() -> Any:
        return {"found": [object()]}


class OddError(Exception):
    """Cannot be made again from its arguments."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"odd {one + two}")
