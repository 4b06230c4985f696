"""Loads the Lua scripts: one file per verb in ``scripts/``, shared parts in ``scripts/lib/``.

A script's header is its contract and is executed, so it cannot drift:

* ``-- @keys ready held …`` binds ``ready_prefix``, ``held_key`` … from the catalogue in
  :mod:`scheduler.keys`;
* ``-- @argv now_ms:int worker_id:str items:rest`` binds the arguments; ``rest`` gives ``items_at``, the index
  of the first of a variable number;
* ``-- @include limits`` puts ``lib/limits.lua`` before the script, once, its own includes first; of what is
  included, :mod:`scheduler.lean` sends what is used;
* ``-- @defer room over_limit …`` makes of ``lib/room.lua`` and what it includes the function ``room()`` that
  gives these names of it, with the names of keys that only it uses: for what most calls do not need; without
  names it gives what the part itself returns;
* ``-- @then any_actions`` puts ``lib/any_actions.lua`` and what it includes behind the script's own text: the
  long way, gone when the short one has not returned;
* ``-- @wraps enqueue`` makes another verb's script the function ``enqueue()``, for a step that does the same
  and more; the arguments it reads must be this script's, too.

Scripts run by ``EVALSHA``; a server that does not know one (restart, failover, ``SCRIPT FLUSH``) is sent
the text.
"""

from __future__ import annotations

import hashlib
import re
import textwrap
from collections.abc import Awaitable, Iterable, Sequence
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

from redis.exceptions import NoScriptError, OutOfMemoryError, ResponseError

from .errors import ScriptError
from .keys import BY_NAME, lua_key
from .lean import lean

_DIRECTIVE = re.compile(r"^-- @(keys|argv|include|defer|then|wraps) (.*)$", re.MULTILINE)

VERBS = ("enqueue", "claim", "extend", "finish", "release", "cancel", "promote", "reclaim")
LOOKS = ("matching", "why", "place", "outcomes", "limits", "stops", "heads", "letters", "weigh")
"""Scripts that write nothing: consistent looks at one moment, apart from the hot path."""

ON_LETTERS = ("redrive", "discard", "prune")
"""What happens to dead letters."""

ON_SCHEDULES = ("schedule", "declare", "fire")
"""What happens to schedules."""

ON_CHILDREN = ("adopt", "unreached")
"""What an action has sent."""

ON_CLOCKS = ("set_back",)
"""What happens when the server's clock has been set back."""

OPERATIONS = ("override", "pause", "resume", "rehold", "register", "move", "instruct")
"""What operators and the policy store do."""


class Script(NamedTuple):
    """A composed script: its text, its SHA-1, the names of its arguments in order."""

    verb: str
    text: str
    sha: str
    argv: tuple[str, ...]

    def command(self, root: str, args: Sequence[Any]) -> tuple[Any, ...]:
        """The ``EVALSHA`` command for one domain's keys."""
        return ("EVALSHA", self.sha, 1, root, *args)

    def command_with_text(self, root: str, args: Sequence[Any]) -> tuple[Any, ...]:
        """The ``EVAL`` command, which also teaches the server the script."""
        return ("EVAL", self.text, 1, root, *args)


Call = tuple[Script, str, Sequence[Any]]
"""A script, the domain's root, the arguments."""


@cache
def load(verb: str) -> Script:
    """Compose one script; raises ValueError on a missing or circular include or an unknown key name."""
    return compose(verb, _read(f"{verb}.lua"))


def compose(verb: str, body: str) -> Script:
    """The script made of ``body``, a text with directives as in ``scripts/``."""
    parts: list[str] = []
    keys: dict[str, None] = {}
    _compose(f"{verb}.lua", body, parts, keys, [])
    argv = _argv(verb, body)
    prelude = [lua_key(name) for name in keys] + argv[0]
    text = lean("\n".join([*prelude, *parts]))
    return Script(verb, text, hashlib.sha1(text.encode()).hexdigest(), argv[1])


@cache
def _read(name: str) -> str:
    return (files(__package__) / "scripts" / name).read_text(encoding="utf-8")


def _compose(name: str, text: str, parts: list[str], keys: dict[str, None], path: list[str]) -> None:
    if name in path:
        raise ValueError(f"circular include: {' → '.join([*path, name])}")
    after = ""
    for kind, rest in _DIRECTIVE.findall(text):
        if kind == "keys":
            for key in rest.split():
                if key not in BY_NAME:
                    raise ValueError(f"{name}: no key named {key!r} in scheduler.keys.CATALOGUE")
                keys[key] = None
        elif kind == "include":
            _compose(f"lib/{rest.strip()}.lua", _read_include(name, rest.strip()), parts, keys, [*path, name])
        elif kind == "defer":
            _defer(rest.split(), parts, keys, [*path, name])
        elif kind == "wraps":
            _wrap(rest.strip(), parts, keys, [*path, name])
        elif kind == "then":
            after = "\n" + _own(rest.strip(), parts, keys, [*path, name])
    code = _strip_comments(text) + after
    if code not in parts:
        parts.append(code)


def _wrap(verb: str, parts: list[str], keys: dict[str, None], path: list[str]) -> None:
    _compose(f"{verb}.lua", _read(f"{verb}.lua"), parts, keys, path)
    parts[-1] = _function(verb, lean(parts[-1]))


def _defer(words: list[str], parts: list[str], keys: dict[str, None], path: list[str]) -> None:
    include, *names = words
    if any(part.startswith(f"local function {include}()\n") for part in parts):
        return
    returned = f"\nreturn {', '.join(names)}" if names else ""
    parts.append(_function(include, lean(_own(include, parts, keys, path) + returned)))


def _own(include: str, parts: list[str], keys: dict[str, None], path: list[str]) -> str:
    """A shared part with what only it needs."""
    own, own_keys = [*parts], {**keys}
    _compose(f"lib/{include}.lua", _read_include(path[-1], include), own, own_keys, path)
    prelude = [lua_key(name) for name in own_keys if name not in keys]
    return "\n".join([*prelude, *own[len(parts) :]])


def _function(name: str, body: str) -> str:
    return f"local function {name}()\n{textwrap.indent(body, ' ')}\nend"


def _read_include(name: str, include: str) -> str:
    try:
        return _read(f"lib/{include}.lua")
    except FileNotFoundError:
        raise ValueError(f"{name}: includes lib/{include}.lua, which does not exist") from None


@cache
def _strip_comments(text: str) -> str:
    lines = (line.rstrip() for line in text.splitlines())
    return "\n".join(line for line in lines if line and not line.lstrip().startswith("--"))


def _argv(verb: str, text: str) -> tuple[list[str], tuple[str, ...]]:
    lines, names = [], []
    for kind, rest in _DIRECTIVE.findall(text):
        if kind != "argv":
            continue
        for index, item in enumerate(rest.split("(")[0].split(), start=1):
            name, _, type_ = item.partition(":")
            names.append(name)
            match type_:
                case "int":
                    lines.append(f"local {name} = tonumber(ARGV[{index}])")
                case "str":
                    lines.append(f"local {name} = ARGV[{index}]")
                case "rest":
                    lines.append(f"local {name}_at = {index}")
                case _:
                    raise ValueError(f"{verb}.lua: argument {item!r} needs a type: int, str or rest")
    return lines, tuple(names)


async def run(redis: Any, script: Script, root: str, args: Sequence[Any]) -> Any:
    """Run one script; raises :class:`ScriptError` when the server refuses it."""
    command = script.command(root, args)
    try:
        return await redis.execute_command(*command)
    except ResponseError as error:
        return await run_after(error, redis, script, command)


async def run_after(error: ResponseError, redis: Any, script: Script, command: Sequence[Any]) -> Any:
    """Run by its text what the server did not know; raises what else it answered."""
    if not isinstance(error, NoScriptError):
        raise explained(script, error) from error
    try:
        return await redis.execute_command("EVAL", script.text, *command[2:])
    except ResponseError as second:
        raise explained(script, second) from second


async def teach(redis: Any, verbs: Iterable[str]) -> None:
    """Tell the server the scripts before they are needed: one that it does not know comes late in its group.

    ``run_together`` finds that out from the reply, when those behind it have been run already.
    """
    pipeline = redis.pipeline(transaction=False)
    for verb in verbs:
        pipeline.script_load(load(verb).text)
    await pipeline.execute()


async def run_all(redis: Any, calls: Sequence[Call]) -> list[Any]:
    """However many scripts, in as few round trips as can be."""
    if len(calls) > 1:
        return await run_together(redis, calls)
    return [await run(redis, *call) for call in calls]


async def run_together(redis: Any, calls: Sequence[Call]) -> list[Any]:
    """Run several scripts in one network round trip, in order; raises for the first that failed."""
    replies = await _execute_together(redis, [script.command(root, args) for script, root, args in calls])
    return await _checked(redis, calls, replies)


def ask(redis: Any, calls: Sequence[Call]) -> Any:
    """Write scripts now, not when somebody awaits them, if the client can do that: what then is awaited, or
    tells, are the replies, errors among them, for ``answers``. Else None."""
    write = getattr(redis, "ask", None)
    return write([script.command(root, args) for script, root, args in calls]) if write and calls else None


async def answers(redis: Any, calls: Sequence[Call], asked: Awaitable[list[Any]] | None) -> list[Any]:
    """The replies to what ``ask`` has written; as from ``run_all``, which is asked where it has not."""
    return await run_all(redis, calls) if asked is None else await _checked(redis, calls, await asked)


async def _checked(redis: Any, calls: Sequence[Call], replies: list[Any]) -> list[Any]:
    for index, reply in enumerate(replies):
        if not isinstance(reply, Exception):
            continue
        if isinstance(reply, NoScriptError):
            script, root, args = calls[index]
            replies[index] = await run(redis, script, root, args)
        elif isinstance(reply, ResponseError):
            raise explained(calls[index][0], reply) from reply
        else:
            raise reply
    return replies


async def _execute_together(redis: Any, commands: list[tuple[Any, ...]]) -> list[Any]:
    replies: list[Any]
    if hasattr(redis, "execute_together"):  # a client that has something better than a pipeline
        replies = await redis.execute_together(commands)
    else:
        pipeline = redis.pipeline(transaction=False)
        for command in commands:
            pipeline.execute_command(*command)
        replies = await pipeline.execute(raise_on_error=False)
    return replies


def explained(script: Script, error: ResponseError) -> Exception:
    """Server states (LOADING, OOM, READONLY …) keep their own type; a script's own failure gets its verb."""
    text = str(error)
    if "OOM command not allowed" in text:  # Redis 6.2 wraps it
        return error if isinstance(error, OutOfMemoryError) else OutOfMemoryError(text)
    if type(error) is ResponseError and ("user_script" in text or "Lua" in text or "script" in text.lower()):
        return ScriptError(script.verb, text)
    return error
