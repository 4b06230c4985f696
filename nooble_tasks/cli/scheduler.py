"""`nooble scheduler`: the maintenance loops alone, for deployments that want them apart from the workers."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING, Annotated

import typer

from .exits import EXPLAINED, INTERRUPTED, OK
from .loops import LoopKind, run_async

if TYPE_CHECKING:
    from nooble_tasks.client import BaseRedisClient

_LOOK_FOR_DOMAINS_S = 5.0

Domains = Annotated[
    list[str] | None, typer.Argument(metavar="[DOMAIN]...", help="Default: every domain on the server.")
]
Loop = Annotated[LoopKind, typer.Option(help="Event loop; auto takes uvloop where it is installed.")]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=EXPLAINED)(scheduler)


def scheduler(domains: Domains = None, loop: Loop = LoopKind.AUTO) -> int:
    """Promote what is due, fire schedules, reclaim what dead workers held, until SIGTERM or Ctrl-C.

    Workers do this by themselves unless they run with --no-maintenance; several of these do no harm.

    nooble scheduler

    nooble scheduler embedding query
    """
    return run_async(_maintain(domains or []), loop)


async def _maintain(domains: list[str]) -> int:
    from nooble_tasks.ids import check_domain
    from nooble_tasks.logs import init_logging

    from .connection import connected

    for domain in domains:
        check_domain(domain)
    async with connected(service_name="nooble_scheduler", wait=True) as client:
        settings = client.settings
        init_logging(settings.log_level, format=settings.log_format, service_name=client.service_name)
        stopping, interrupted = asyncio.Event(), asyncio.Event()
        loop = asyncio.get_running_loop()

        def on_interrupt() -> None:
            interrupted.set()
            stopping.set()

        loop.add_signal_handler(signal.SIGTERM, stopping.set)
        loop.add_signal_handler(signal.SIGINT, on_interrupt)
        await _loops(client, domains, stopping)
        return INTERRUPTED if interrupted.is_set() else OK


async def _loops(client: BaseRedisClient, domains: list[str], stopping: asyncio.Event) -> None:
    """One loop per domain; without named ones, domains that appear later are taken up too."""
    from redis.exceptions import RedisError

    from nooble_tasks._engine import Ticker, inspection, maintenance
    from nooble_tasks.logs import get_logger
    from nooble_tasks.upkeep import upkeep

    log = get_logger(client.service_name)
    engine = client.bus.engine
    running: dict[str, list[maintenance.Loop]] = {}
    try:
        while not stopping.is_set():
            try:
                found = domains or await inspection.domains(engine)
            except (RedisError, OSError) as error:
                log.warning("looking for domains: %s; again in %.0f s", error, _LOOK_FOR_DOMAINS_S)
                found = []
            for domain in found:
                if domain not in running:
                    running[domain] = [upkeep(client.bus, [domain]), Ticker(engine, [domain])]
                    for each in running[domain]:
                        each.start()
                    log.info("maintains %s", domain)
            try:
                await asyncio.wait_for(stopping.wait(), _LOOK_FOR_DOMAINS_S)
            except TimeoutError:
                pass
    finally:
        for loops in running.values():
            for each in loops:
                await each.stop()
