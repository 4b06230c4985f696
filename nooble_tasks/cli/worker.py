"""`nooble worker`: run services in this process, or in several."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import sys
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Annotated

import typer

from .console import warn
from .exits import EXPLAINED, FAILED, INTERRUPTED, OK
from .loops import LoopKind, run_async

if TYPE_CHECKING:
    from nooble_tasks.service import BaseService
    from nooble_tasks.settings import CommonAppSettings

Targets = Annotated[
    list[str],
    typer.Argument(
        metavar="TARGET", help="services.embedding, or services.embedding.service:EmbeddingService"
    ),
]
Loop = Annotated[LoopKind, typer.Option(help="Event loop; auto takes uvloop where it is installed.")]
Concurrency = Annotated[
    int | None, typer.Option("--concurrency", "-c", min=1, help="Slots: actions that run at once.")
]
Burst = Annotated[bool, typer.Option("--burst", help="End when nothing is left to do.")]
Reload = Annotated[bool, typer.Option("--reload", help="Restart when code below this folder changes.")]
NoMaintenance = Annotated[
    bool, typer.Option("--no-maintenance", help="Leave promoting and reclaiming to others.")
]
HealthPort = Annotated[
    int | None,
    typer.Option(min=0, max=65_535, help="Answer /health/live and /health/ready; one port more per process."),
]
HealthHost = Annotated[str, typer.Option(help="Where the health port listens.")]
Processes = Annotated[int, typer.Option("--processes", "-p", min=1, help="Worker processes.")]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=EXPLAINED)(worker)


def worker(
    targets: Targets,
    concurrency: Concurrency = None,
    processes: Processes = 1,
    loop: Loop = LoopKind.AUTO,
    burst: Burst = False,
    reload: Reload = False,
    no_maintenance: NoMaintenance = False,
    health_port: HealthPort = None,
    health_host: HealthHost = "127.0.0.1",
) -> int:
    """Run one service, or several domains in one process, until SIGTERM or Ctrl-C.

    The first signal drains: nothing new starts, running actions end within the grace (drain_timeout_s), the
    others go back unspent. A second one cuts the grace short. SIGUSR1 makes it quiet, SIGUSR2 drains it.

    nooble worker services.embedding

    nooble worker services.query services.ingestion --concurrency 20 --processes 4 --health-port 8081
    """
    if reload or processes > 1:
        from .target import service_class, use_current_folder

        use_current_folder()
        classes = [service_class(target) for target in targets]  # a wrong name is told once, here
        arguments = _own_arguments(targets, concurrency, loop, burst, no_maintenance)
        if not reload:
            return _many(arguments, processes, health_port, health_host, classes[0].make_settings())
        return _reloading(arguments + _health_arguments(health_port, health_host))
    health = None if health_port is None else (health_host, health_port)
    return run_async(_work(targets, concurrency, burst, not no_maintenance, health), loop)


async def _work(
    targets: list[str],
    concurrency: int | None,
    burst: bool,
    maintain: bool,
    health: tuple[str, int] | None,
) -> int:
    from nooble_tasks.embedded import resolve_redis_url
    from nooble_tasks.errors import ConfigurationError
    from nooble_tasks.health import HealthServer
    from nooble_tasks.logs import init_logging
    from nooble_tasks.redis_manager import RedisManager
    from nooble_tasks.worker import BaseWorker

    from .target import service_class, use_current_folder

    use_current_folder()
    classes = [service_class(target) for target in targets]
    all_settings = [cls.make_settings() for cls in classes]
    domains = [settings.domain_name for settings in all_settings]
    if len(set(domains)) < len(domains):
        raise ConfigurationError(f"two of these services serve the same domain: {', '.join(domains)}")
    url = resolve_redis_url(all_settings[0].redis_url, start=False).url
    all_settings = [settings.replace(redis_url=url) for settings in all_settings]
    first = all_settings[0]
    init_logging(first.log_level, format=first.log_format, service_name=first.service_name)
    async with AsyncExitStack() as opened:
        manager = RedisManager(first)
        opened.push_async_callback(manager.close)
        redis = manager.open()  # the worker waits for a server that does not answer yet
        services = [
            _service(cls, settings, redis) for cls, settings in zip(classes, all_settings, strict=True)
        ]
        running = BaseWorker(first, redis, services, concurrency=concurrency, burst=burst, maintain=maintain)
        interrupted = _handle_signals(running)
        try:
            async with AsyncExitStack() as stack:
                if health is not None:
                    server = HealthServer(running, health[1], host=health[0])
                    await stack.enter_async_context(server)
                    running._logger.info("probes are answered on http://%s:%d/health/ready", *health)
                _leave_alone_what_is_loaded()
                await running.run()
        finally:
            await running.bus.close()
        running._logger.info("worker has ended")
    if running.given_up:
        # Their tasks would keep the event loop, and so the process, from ending.
        logging.shutdown()
        os._exit(INTERRUPTED if interrupted.is_set() else OK)
    return INTERRUPTED if interrupted.is_set() else OK


def _leave_alone_what_is_loaded() -> None:
    """Modules and classes stay until the end; looking through them whenever garbage is collected costs a
    busy worker a sixth of its time."""
    gc.collect()
    gc.freeze()


def _service(cls: type[BaseService], settings: object, redis: object) -> BaseService:
    from nooble_tasks.client import BaseRedisClient
    from nooble_tasks.settings import CommonAppSettings

    assert isinstance(settings, CommonAppSettings)
    client = BaseRedisClient(settings.service_name, redis, settings)
    return cls(app_settings=settings, service_redis_client=client, direct_redis_conn=redis)


def _handle_signals(running: object) -> asyncio.Event:
    """SIGTERM and Ctrl-C drain; the event says that it was Ctrl-C."""
    from nooble_tasks.worker import BaseWorker

    assert isinstance(running, BaseWorker)
    interrupted = asyncio.Event()
    running.install_signal_handlers()

    def on_interrupt() -> None:
        interrupted.set()
        os.kill(os.getpid(), signal.SIGTERM)

    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, on_interrupt)
    return interrupted


def _own_arguments(
    targets: list[str], concurrency: int | None, loop: LoopKind, burst: bool, no_maintenance: bool
) -> list[str]:
    arguments = ["worker", *targets, "--loop", loop.value]
    if concurrency is not None:
        arguments += ["--concurrency", str(concurrency)]
    if burst:
        arguments.append("--burst")
    if no_maintenance:
        arguments.append("--no-maintenance")
    return arguments


def _reloading(arguments: list[str]) -> int:
    """Run the worker as a child that restarts with every change of the code."""
    import shlex

    from watchfiles import run_process

    from nooble_tasks.settings import CommonAppSettings

    from .procfile import own_command
    from .reload import CodeFilter

    grace_s = int(CommonAppSettings().drain_timeout_s) + 5
    warn("reloading: the worker restarts when code below this folder changes")
    run_process(
        ".",
        target=shlex.join([*own_command(), *arguments]),
        target_type="command",
        watch_filter=CodeFilter(),
        sigint_timeout=grace_s,
    )
    return INTERRUPTED  # it only returns for Ctrl-C or SIGTERM


def _health_arguments(port: int | None, host: str, number: int = 1) -> list[str]:
    if port is None:
        return []
    return ["--health-port", str(port + number - 1 if port else 0), "--health-host", host]


def _many(
    arguments: list[str],
    processes: int,
    health_port: int | None,
    health_host: str,
    settings: CommonAppSettings,
) -> int:
    """Run the worker several times, supervised."""
    from .procfile import ProcessSpec, own_command
    from .running import supervise

    specs = [
        ProcessSpec(
            f"worker.{number}",
            (*own_command(), *arguments, *_health_arguments(health_port, health_host, number)),
            {},
        )
        for number in range(1, processes + 1)
    ]
    ended_well, interrupted = run_async(supervise(specs, environment=dict(os.environ), settings=settings))
    if interrupted:
        return INTERRUPTED
    return OK if ended_well else FAILED


if sys.platform == "win32":  # pragma: no cover
    raise ImportError("workers need signals and process groups of POSIX")
