"""The commands of `nooble`, and what all of them share: how an error is told and how the process ends."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from io import TextIOWrapper
from typing import Any

import typer

from . import (
    cancel,
    cron,
    cron_backfill,
    dead,
    demo,
    limits,
    pausing,
    policy,
    scheduler,
    send,
    simulate,
    status,
    tenant,
    tenant_registry,
    tenants,
    tiers,
    up,
    why,
    worker,
    workers,
)
from .console import complain, print_json
from .exits import EXPLAINED, FAILED, INTERRUPTED, OK, USAGE, Ended

app = typer.Typer(
    name="nooble",
    help="Actions of many tenants on tiers, carried over Redis.\n\n"
    "Start everything of a project with `nooble up`, look at it with `nooble status`, "
    "or watch a whole system at work with `nooble demo`.",
    epilog=EXPLAINED,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    add_completion=False,
    pretty_exceptions_enable=False,  # they print local variables, passwords included
    context_settings={"help_option_names": ["-h", "--help"]},
)
for _module in (
    up,
    worker,
    workers,
    scheduler,
    send,
    cancel,
    status,
    why,
    tenants,
    tenant,
    tenant_registry,
    tiers,
    pausing,
    limits,
    policy,
    simulate,
    dead,
    cron,
    cron_backfill,
    demo,
):
    _module.register(app)


@app.command(epilog=EXPLAINED)
def version(
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Print the versions of nooble-tasks, Python and redis-py."""
    import platform

    import redis

    from nooble_tasks import __version__

    versions = {
        "nooble-tasks": __version__,
        "python": platform.python_version(),
        "redis-py": redis.__version__,
    }
    if as_json:
        print_json(versions)
    else:
        print(" ".join(f"{name} {number}" for name, number in versions.items()))


def run(arguments: Sequence[str]) -> int:
    """Run one command; returns the exit code. Nothing leaves as a traceback that a user can cause."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that cannot show a character is no failure
    try:
        code: Any = app(args=list(arguments), prog_name="nooble", standalone_mode=False)
        sys.stdout.flush()
    except (typer.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except BrokenPipeError:
        return _unread()
    except SystemExit as ended:  # what click makes of it
        if isinstance(ended.__context__, BrokenPipeError):
            return _unread()
        raise
    except Exception as error:
        # Which click it is depends on the version of typer: known by its shape.
        if hasattr(error, "exit_code") and hasattr(error, "show"):
            return _misused(error, arguments)
        message = explain(error)
        if message is None:
            raise
        exit_code = error.exit_code if isinstance(error, Ended) else FAILED
        if "--json" in arguments:
            _print_error(error, message, exit_code)
        else:
            complain(message)
        return exit_code
    return code if isinstance(code, int) else OK


def _unread() -> int:
    """Nobody reads any further: `nooble status | head`."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return OK


def _misused(error: Any, arguments: Sequence[str]) -> int:
    message = error.format_message() if "--json" in arguments else ""
    if message:
        _print_error(error, message, USAGE)
    else:
        error.show()
    return USAGE if arguments else OK


def _print_error(error: Exception, message: str, exit_code: int) -> None:
    """With --json an error is JSON, too."""
    code = getattr(error, "code", "wrong_usage" if exit_code == USAGE else "failed")
    details = getattr(error, "details", {})
    print_json({"error": {"code": code, "message": message, "details": details}})


def explain(error: Exception) -> str | None:
    """What to tell a user about an error; None for a bug of ours, which deserves its traceback."""
    from redis.exceptions import RedisError

    from nooble_tasks._engine import SchedulerError
    from nooble_tasks.embedded import EmbeddedServerError
    from nooble_tasks.errors import NoobleError

    if isinstance(error, NoobleError | SchedulerError | EmbeddedServerError | Ended):
        return str(error)
    if isinstance(error, RedisError):
        return f"Redis refused or went away: {error}. Next step: look at the server, then try again."
    if isinstance(error, OSError):
        return str(error)
    return None
