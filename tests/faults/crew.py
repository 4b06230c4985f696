"""A crew of worker processes, quick to hire: they are forked from one that has imported everything."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
import signal
import tempfile
import time
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from redis.exceptions import RedisError

from nooble_tasks import BaseWorker, QueueUnavailable, RedisManager, slots
from nooble_tasks.logs import init_logging
from nooble_tasks.lookahead import Lookahead
from tests.faults.workshop import POLICY, Workshop, workshop_settings

PATIENCE_S = 30.0
TASKS = "faults:tasks"
_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["tests.faults.crew"])


class Crew:
    """Workers as processes. Whoever is left when the block ends is killed."""

    def __init__(self, url: str, **settings: Any) -> None:
        self.url = url
        self.settings = settings
        self.members: list[BaseProcess] = []
        self._folder = tempfile.TemporaryDirectory(prefix="nooble-crew-")
        self.policy_file = str(Path(self._folder.name) / "tiers.toml")
        Path(self.policy_file).write_text(POLICY)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for member in list(self.members):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid_of(member), signal.SIGCONT)
            self.kill(member)
        self._folder.cleanup()

    def hire(self, *, url: str | None = None, concurrency: int = 20, **settings: Any) -> BaseProcess:
        """Start a worker, or so many ``workers`` in one process; it may not have registered yet."""
        values = {**self.settings, **settings}
        member = _context.Process(
            target=work, args=(url or self.url, self.policy_file, concurrency, values), daemon=True
        )
        member.start()
        self.members.append(member)
        return member

    def kill(self, member: BaseProcess) -> None:
        """kill -9, and wait for the end."""
        member.kill()
        self.gone(member)

    def stop(self, member: BaseProcess) -> None:
        """SIGTERM: it drains by itself."""
        os.kill(pid_of(member), signal.SIGTERM)

    def gone(self, member: BaseProcess) -> int:
        """Wait for the end of one that was told to end; its exit code."""
        member.join(PATIENCE_S)
        assert member.exitcode is not None, f"worker {member.pid} still runs after {PATIENCE_S:g} s"
        self.members.remove(member)
        return member.exitcode


def pid_of(member: BaseProcess) -> int:
    assert member.pid is not None
    return member.pid


def work(url: str, policy_file: str, concurrency: int, values: dict[str, Any]) -> None:
    """What a worker's process does, until it is told to stop."""
    while True:
        try:
            return asyncio.run(_run(url, policy_file, concurrency, dict(values)))
        except QueueUnavailable:  # it says so and ends; what started it starts it again
            time.sleep(0.2)


async def _run(url: str, policy_file: str, concurrency: int, values: dict[str, Any]) -> None:
    tells_tasks, many = values.pop("tells_tasks", False), values.pop("workers", 1)
    jump_s, ahead_s = values.pop("clock_jump_s", 0), values.pop("server_ahead_s", 0)
    claims_ahead = values.pop("claims_ahead", 0)
    settings = workshop_settings(url, policy_file, **values)
    init_logging("CRITICAL", format="text", service_name="workshop_service")
    async with RedisManager(settings) as manager:
        redis = manager.get_client()
        service = Workshop(app_settings=settings, direct_redis_conn=redis)
        worker = BaseWorker(settings, redis, service, concurrency=concurrency)
        worker.install_signal_handlers()
        if claims_ahead:
            _claim_ahead(worker, claims_ahead)
        if ahead_s:
            await worker.bus.ready()
            worker.bus.clock._from_steady_s += ahead_s  # type: ignore[attr-defined]
        if jump_s:
            asyncio.get_running_loop().call_later(0.3, _set_this_machines_clock, jump_s)
        telling = asyncio.create_task(_tell_tasks(redis)) if tells_tasks else None
        others = [BaseWorker(settings, redis, service, concurrency=concurrency) for _ in range(many - 1)]
        try:
            await asyncio.gather(worker.run(), *(each.run() for each in others))
        finally:
            if telling is not None:
                telling.cancel()


def _claim_ahead(worker: BaseWorker, many: int) -> None:
    """So many, whatever the handlers take, and never given back for lack of a slot."""

    class Ahead(Lookahead):
        most = many

    slots.LOOK_S = 600.0
    worker._slots.lookahead = Ahead(worker.concurrency)


async def _tell_tasks(redis: Any) -> None:
    """How many tasks this worker's loop has, for who looks from outside."""
    while True:
        with contextlib.suppress(RedisError, OSError):
            await redis.hset(TASKS, str(os.getpid()), len(asyncio.all_tasks()))
        await asyncio.sleep(0.5)


def _set_this_machines_clock(by_s: float) -> None:
    """As far as this process can see."""
    wall = time.time
    time.time = lambda: wall() + by_s
