"""Whether a worker lives and is ready, and an HTTP port that says so.

    GET /health/live    200 while the event loop turns
    GET /health/ready   200 while it takes on work and gets on with it, else 503; the body says why

A worker is ready that is registered, holds its leases, reaches Redis, is not told to be quiet, and is not
stuck: work waits, a slot is free (or all that runs is past its time), and nothing starts or ends for long.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple

from redis.exceptions import RedisError

from .version import VERSION

if TYPE_CHECKING:
    from .worker import BaseWorker

_ANSWER_WITHIN_S = 2.0
_READ_WITHIN_S = 5.0
_LONGEST_REQUEST = 8_192


class Health(NamedTuple):
    """`ready`, and the reasons when it is not; `details` for whoever looks."""

    ready: bool
    reasons: list[str]
    details: dict[str, Any]


class Readiness:
    """Asks a worker and Redis. `stuck_s`: so long may work wait without anything starting or ending."""

    def __init__(
        self, worker: BaseWorker, stuck_s: float, *, steady_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._worker = worker
        self._stuck_s = stuck_s
        self._steady_s = steady_s
        self._seen_progress = -1
        self._waiting_since_s: float | None = None

    async def check(self) -> Health:
        """How it stands now."""
        worker = self._worker
        reasons = []
        if not worker.phase.claims:
            reasons.append(f"the worker is {worker.phase.state}")
        if worker.given_up >= worker.concurrency:
            reasons.append(
                f"{worker.given_up} handlers swallow every cancellation and run on: restart the worker"
            )
        try:
            reasons += await asyncio.wait_for(self._ask_redis(), _ANSWER_WITHIN_S)
        except TimeoutError:
            reasons.append(f"Redis does not answer within {_ANSWER_WITHIN_S:g} s")
        except (RedisError, OSError) as error:
            reasons.append(f"Redis does not answer: {error}")
        details = {
            "worker_id": worker.worker_id,
            "state": worker.phase.state,
            "running": worker.running,
            "waiting": worker.waiting,
            "slots": worker.concurrency,
            "given_up": worker.given_up,
            "version": VERSION,
        }
        return Health(not reasons, reasons, details)

    async def _ask_redis(self) -> list[str]:
        worker, keys = self._worker, self._worker.bus.keys
        reasons, waits = [], False
        for domain in worker.domains:
            pipeline = worker.bus.redis.pipeline(transaction=False)
            pipeline.zscore(keys.of("workers", domain), worker.worker_id)
            for tier in worker.bus.policy.names():
                pipeline.exists(keys.of("ready", domain, tier))
            lease, *ready = await pipeline.execute()
            waits = waits or any(ready)
            if lease is None:
                reasons.append(f"not registered in {domain}")
            elif lease < worker.bus.clock.now_ms():
                reasons.append(f"the lease in {domain} has ended: the heartbeat does not come through")
        stuck_s = self._without_progress_s(waits=waits)
        if stuck_s >= self._stuck_s:
            reasons.append(f"work waits, and nothing has started or ended for {stuck_s:.0f} s")
        return reasons

    def _without_progress_s(self, *, waits: bool) -> float:
        worker, now_s = self._worker, self._steady_s()
        busy = worker.running >= worker.concurrency and worker.overdue < worker.running
        if not waits or busy or worker.progress != self._seen_progress or self._waiting_since_s is None:
            self._seen_progress = worker.progress
            self._waiting_since_s = now_s
        return now_s - self._waiting_since_s


class HealthServer:
    """Answers probes of one worker over HTTP; `async with HealthServer(worker, 8081): await worker.run()`."""

    def __init__(self, worker: BaseWorker, port: int, *, host: str = "127.0.0.1") -> None:
        self._readiness = Readiness(worker, worker.app_settings.stuck_s)
        self._host = host
        self._port = port
        self._server: asyncio.Server | None = None

    @property
    def port(self) -> int:
        """Where it listens; the one that was free when 0 was asked for."""
        if self._server is None:
            return self._port
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def __aenter__(self) -> HealthServer:
        self._server = await asyncio.start_server(self._serve, self._host, self._port, limit=_LONGEST_REQUEST)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_READ_WITHIN_S):
                head = await reader.readuntil(b"\r\n\r\n")
            status, body = await self._answer(head.split(b"\r\n", 1)[0])
            writer.write(_response(status, body))
            await writer.drain()
        except (TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            writer.write(_response(400, {"error": "that is no request for /health/live or /health/ready"}))
        except OSError:
            pass
        finally:
            writer.close()

    async def _answer(self, request: bytes) -> tuple[int, dict[str, Any]]:
        method, _, rest = request.partition(b" ")
        path = rest.partition(b" ")[0].partition(b"?")[0]
        if method not in (b"GET", b"HEAD"):
            return 405, {"error": "only GET"}
        if path == b"/health/live":
            return 200, {"status": "live"}
        if path == b"/health/ready":
            health = await self._readiness.check()
            said = {"status": "ready" if health.ready else "not ready", "reasons": health.reasons}
            return 200 if health.ready else 503, {**said, **health.details}
        return 404, {"error": "there are /health/live and /health/ready"}


def _response(status: int, body: dict[str, Any]) -> bytes:
    text = json.dumps(body).encode()
    head = (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(text)}\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + text
