"""What can go wrong with delivering an action, apart from its handler. Part of the tree in `errors.py`."""

# ruff: noqa: N818

from __future__ import annotations

from .errors import ActionError, ConfigurationError, InvalidAction


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
