"""What can go wrong with delivering an action, apart from its handler. Part of the tree in `errors.py`."""

# ruff: noqa: N818

from __future__ import annotations

import signal

from .errors import ActionError, ConfigurationError, InvalidAction, NoobleError


class WorkerDied(ActionError):
    """Worker after worker died while it ran the action."""

    code = "worker_died"


class NotReplicated(ActionError):
    """The action is in line, but too few replicas confirmed it in time."""

    code = "not_replicated"
    retryable = True


class ServerRefused(ConfigurationError):
    """The Redis server is not fit for what the settings promise."""

    code = "server_refused"


class UnknownLetter(InvalidAction):
    """There is no such dead letter (any more)."""

    code = "unknown_letter"


class HandlerProcessDied(NoobleError):
    """The process that ran the handler died: killed, out of memory, or a crash in native code."""

    code = "handler_process_died"
    retryable = True

    def __init__(self, exit_code: int | None = None) -> None:
        how = "" if exit_code is None else f" ({_how(exit_code)})"
        super().__init__(f"the process that ran the handler died{how}", details={"exit_code": exit_code})


class WorkerStopping(NoobleError):
    """The worker stops and gives the action back unspent; it runs again elsewhere."""

    code = "worker_stopping"
    retryable = True


def _how(exit_code: int) -> str:
    if exit_code >= 0:
        return f"exit code {exit_code}"
    try:
        return f"by {signal.Signals(-exit_code).name}"
    except ValueError:
        return f"by signal {-exit_code}"
