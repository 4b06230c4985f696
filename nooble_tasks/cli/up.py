"""`nooble up`: the whole project at once, with a server if none is configured."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .exits import EXPLAINED, FAILED, INTERRUPTED, OK
from .loops import run_async

if TYPE_CHECKING:
    from collections.abc import Callable

    from nooble_tasks.embedded import ResolvedRedis

    from .procfile import ProcessSpec

Names = Annotated[
    list[str] | None, typer.Argument(metavar="[NAME]...", help="Only these processes of the Procfile.")
]
Procfile = Annotated[Path, typer.Option(help="Which processes to run, one `name: command` per line.")]
Reload = Annotated[bool, typer.Option("--reload", help="Restart the processes when code changes.")]
Port = Annotated[
    int | None,
    typer.Option(
        min=0,
        max=65535,
        help="Port of the embedded server on 127.0.0.1, 0 for any free one; without it a private socket "
        "where the system has them.",
    ),
]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=EXPLAINED)(up)


def up(
    names: Names = None,
    procfile: Procfile = Path("Procfile"),
    reload: Reload = False,
    port: Port = None,
) -> int:
    """Run the processes of the Procfile, restart those that crash, end all of them with Ctrl-C.

    Without NOOBLE_REDIS_URL an embedded server is started; it keeps its data per project folder and ends
    with this command. `nooble status`, `enqueue` and `call` in the same folder find it.

    nooble up

    nooble up ingestion embedding --reload
    """
    from nooble_tasks.settings import CommonAppSettings

    from .procfile import read_procfile, with_own_bin
    from .running import supervise

    specs = read_procfile(procfile, names or ())
    with _redis(CommonAppSettings().redis_url, port) as resolved:
        environment = with_own_bin({**os.environ, "NOOBLE_REDIS_URL": resolved.url})
        ended_well, interrupted = run_async(
            supervise(
                specs,
                environment=environment,
                folder=procfile.resolve().parent,
                reload=reload,
                announce=_announcement(resolved, specs),
            )
        )
    if interrupted:
        return INTERRUPTED
    return OK if ended_well else FAILED


def _redis(configured: str | None, port: int | None) -> ResolvedRedis:
    from nooble_tasks.embedded import EmbeddedServer, ResolvedRedis, project_of, resolve_redis_url
    from nooble_tasks.errors import ConfigurationError

    if port is None:
        return resolve_redis_url(configured)
    if configured or os.environ.get("NOOBLE_REDIS_URL"):
        raise ConfigurationError("--port is for the embedded server, but NOOBLE_REDIS_URL is set; drop one")
    server = EmbeddedServer(project_of(Path.cwd()), port=port).start()
    return ResolvedRedis(server.url, "started", server)


def _announcement(
    resolved: ResolvedRedis, specs: list[ProcessSpec]
) -> Callable[[Callable[[str], None]], None]:
    from nooble_tasks.redis_url import redact_url

    def announce(say: Callable[[str], None]) -> None:
        where = redact_url(resolved.url)
        if resolved.server is not None:
            say(f"{resolved.server.binary} started at {where}; data in {resolved.server.data_folder}")
        elif resolved.source == "running":
            say(f"uses the embedded server that already runs for this project, {where}")
        else:
            say(f"uses {where}")
        say(f"runs {', '.join(spec.name for spec in specs)}; Ctrl-C ends everything")

    return announce
