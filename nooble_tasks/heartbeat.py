"""Keeps a worker's leases alive from a thread with a connection of its own.

A handler that blocks the event loop must not cost the worker what it holds, so nothing here depends on the
loop: it is only told, by thread-safe calls, when a lease was lost or a cancellation was asked for.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Any

from redis.exceptions import NoScriptError, OutOfMemoryError, RedisError

from ._engine import Engine, read_extended, scripts
from .connections import threaded_twin
from .redis_clients import close_threaded

_log = logging.getLogger(__name__)


class Heartbeat:
    """Extends the leases of one worker in some domains, three times per lease.

    While ``owns_something()`` is False every other beat is left out: a lease over nothing needs no more, and
    it still outlasts the time to the next beat by half. Then one plain command does, too: there is nothing to
    be told about, and commands inside of scripts count. ``on_lost(domain)``, ``on_cancel(domain, action_id)``
    and ``on_aside(domain)`` are called in the thread.
    """

    def __init__(
        self,
        engine: Engine,
        worker_id: str,
        domains: Sequence[str],
        *,
        owns_something: Callable[[], bool],
        on_lost: Callable[[str], None],
        on_cancel: Callable[[str, str], None],
        on_aside: Callable[[str], None],
    ) -> None:
        self._engine = engine
        self._worker_id = worker_id
        self._domains = tuple(domains)
        self._owns_something = owns_something
        self._on_lost = on_lost
        self._on_cancel = on_cancel
        self._on_aside = on_aside
        self._every_s = engine.lease_ms / 3000
        self._called = threading.Event()
        self._stopping = self._stepping_aside = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin; the worker must be registered already."""
        self._thread = threading.Thread(target=self._run, name=f"heartbeat-{self._worker_id}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End and wait for the thread; the leases are left as they are."""
        self._stopping = True
        self._called.set()
        if self._thread is not None:
            self._thread.join(timeout=self._every_s + 1)
            self._thread = None

    def step_aside(self) -> None:
        """The event loop is blocked: who would be woken for work cannot take it, and others can."""
        self._stepping_aside = True
        self._called.set()

    def _run(self) -> None:
        redis = threaded_twin(self._engine.redis, max(self._every_s, 0.5))
        left_out = False
        try:
            while True:
                self._called.wait(self._every_s)
                self._called.clear()  # before looking: a call that comes meanwhile counts
                if self._stopping:
                    return
                try:
                    if self._stepping_aside:
                        self._stepping_aside = False
                        self._pass_on(redis)
                    left_out = not left_out and not self._owns_something()
                    if not left_out:
                        self._beat(redis)
                except Exception:  # all that the worker holds hangs on this thread
                    _log.exception("heartbeat of %s: a bug of nooble-tasks", self._worker_id)
        finally:
            close_threaded(redis)
            redis.connection_pool.disconnect()

    def _beat(self, redis: Any) -> None:
        for domain in self._domains:
            try:
                if not self._owns_something() and self._moved(redis, domain):
                    continue
                args = self._engine.extend_args(self._worker_id)
                extended = read_extended(self._script(redis, "extend", domain, args))
            except (RedisError, OSError) as error:
                # The lease outlives two missed beats; the next one comes soon.
                _log.warning("heartbeat of %s in %s: %s", self._worker_id, domain, error)
                continue
            if not extended.held:
                self._on_lost(domain)
            for action_id in extended.cancelled:
                self._on_cancel(domain, action_id)

    def _pass_on(self, redis: Any) -> None:
        for domain in self._domains:
            try:
                self._script(redis, "pass_on", domain, [self._worker_id])
            except (RedisError, OSError) as error:
                _log.warning("%s cannot step aside in %s: %s", self._worker_id, domain, error)
            finally:  # it may not be among the sleepers any more, and has to look for itself
                self._on_aside(domain)

    def _moved(self, redis: Any, domain: str) -> bool:
        """Whether the lease could be moved on just so; if not, the script finds out why."""
        _, worker_id, lease_until_ms, _ = self._engine.extend_args(self._worker_id)
        workers = self._engine.keys.of("workers", domain)
        try:
            moved = redis.execute_command("ZADD", workers, "XX", "GT", "CH", lease_until_ms, worker_id)
        except OutOfMemoryError:  # the script is allowed what this is not
            return False
        return bool(moved)

    def _script(self, redis: Any, verb: str, domain: str, args: Sequence[Any]) -> Any:
        script, root = scripts.load(verb), self._engine.keys.root(domain)
        try:
            return redis.execute_command(*script.command(root, args))
        except NoScriptError:
            return redis.execute_command(*script.command_with_text(root, args))
