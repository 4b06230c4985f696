"""Log lines that say which tenant and action they belong to, as text for people or as JSON for machines.

What a tenant sends can end up in a message, so control characters are escaped: nobody can forge a line,
clear a terminal or turn the reading direction around.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
from datetime import UTC, datetime
from typing import Any, Literal, TextIO

from .context import current_context
from .errors import ConfigurationError

LogFormat = Literal["auto", "text", "json"]

CONTEXT_FIELDS = ("tenant_id", "tier", "action_id", "action_type", "session_id", "task_id", "trace_id")
_TEXT_CONTEXT = (("tenant", "tenant_id"), ("action", "action_id"), ("type", "action_type"))
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "nooble_context"}
# C0, DEL, C1, line and paragraph separators, and the marks that change the reading direction.
_unsafe = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_COLOURS = {"DEBUG": "\x1b[2m", "WARNING": "\x1b[33m", "ERROR": "\x1b[31m", "CRITICAL": "\x1b[1;31m"}
_RESET = "\x1b[0m"


def get_logger(name: str) -> logging.Logger:
    """The logger of that name; its lines carry the running action's ids once `init_logging` was called."""
    return logging.getLogger(name)


def init_logging(
    level: str | int = "INFO",
    *,
    format: LogFormat = "auto",  # noqa: A002  (the word every logging set-up uses)
    service_name: str = "",
    stream: TextIO | None = None,
) -> logging.Handler:
    """Send the whole process's log lines to `stream` (stderr); a second call replaces the first.

    `auto` is text on a terminal and JSON elsewhere.
    """
    target = sys.stderr if stream is None else stream
    terminal = bool(getattr(target, "isatty", lambda: False)())
    if format not in ("auto", "text", "json"):
        raise ConfigurationError(f"the log format {format!r} is none of auto, text, json")
    as_json = format == "json" or (format == "auto" and not terminal)
    handler = logging.StreamHandler(target)
    handler.set_name("nooble-tasks")
    handler.addFilter(_add_context)
    if as_json:
        handler.setFormatter(JsonFormatter(service_name))
    else:
        handler.setFormatter(TextFormatter(colours=terminal and "NO_COLOR" not in os.environ))
    root = logging.getLogger()
    try:
        root.setLevel(level.upper() if isinstance(level, str) else level)
    except ValueError as error:
        raise ConfigurationError(f"the log level {level!r} is unknown; use DEBUG, INFO, WARNING…") from error
    for former in [h for h in root.handlers if h.get_name() == "nooble-tasks"]:
        root.removeHandler(former)
    root.addHandler(handler)
    return handler


def escape(text: str) -> str:
    """The text on one line, with everything that could mislead a terminal or a parser made visible."""
    return _unsafe.sub(_visible, text)


def _visible(match: re.Match[str]) -> str:
    return match.group().encode("unicode_escape").decode()


def _add_context(record: logging.LogRecord) -> bool:
    # At the handler and not in the formatter: this runs where the line was written, so a queue may follow.
    context = current_context()
    record.nooble_context = (
        {}
        if context is None
        else {name: value for name in CONTEXT_FIELDS if (value := getattr(context, name)) is not None}
    )
    return True


def _context_of(record: logging.LogRecord) -> dict[str, Any]:
    context: dict[str, Any] = getattr(record, "nooble_context", {})
    return context


class JsonFormatter(logging.Formatter):
    """One JSON object per line, pure ASCII."""

    def __init__(self, service_name: str = "") -> None:
        super().__init__()
        self._service = service_name

    def format(self, record: logging.LogRecord) -> str:
        """The record with its context, its `extra` fields and its traceback."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if self._service:
            line["service"] = self._service
        line.update(_context_of(record))
        for name, value in vars(record).items():
            if name not in _STANDARD and name not in line:
                line[name] = value
        if record.exc_info and record.exc_info[0] is not None:
            line["error_type"] = record.exc_info[0].__name__
            line["traceback"] = self.formatException(record.exc_info)
        if record.stack_info:
            line["stack"] = record.stack_info
        return json.dumps(line, default=str)


class TextFormatter(logging.Formatter):
    """One line per record, its traceback indented below, colours only where somebody sees them."""

    def __init__(self, *, colours: bool = False) -> None:
        super().__init__()
        self._colours = colours

    def format(self, record: logging.LogRecord) -> str:
        """Time, level, logger, message, and the ids of the running action."""
        moment = datetime.fromtimestamp(record.created, UTC).strftime("%H:%M:%S.%f")[:-3]
        level = f"{record.levelname:<8}"
        if self._colours and record.levelname in _COLOURS:
            level = f"{_COLOURS[record.levelname]}{level}{_RESET}"
        line = f"{moment} {level} {record.name}: {escape(record.getMessage())}"
        context = _context_of(record)
        ids = [f"{label}={context[name]}" for label, name in _TEXT_CONTEXT if name in context]
        if ids:
            line = f"{line} [{' '.join(ids)}]"
        below = []
        if record.exc_info and record.exc_info[0] is not None:
            below.append(self.formatException(record.exc_info))
        if record.stack_info:
            below.append(record.stack_info)
        # The bar keeps a line of a foreign exception's message from passing for a record.
        return "\n".join([line, *(f"  | {escape(row)}" for text in below for row in text.split("\n"))])
