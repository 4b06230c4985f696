"""Leaves out of a composed script what it does not use.

A shared part brings all its functions; Lua makes each of them anew in every call, and a script is called for
every single action. What nothing refers to is not sent to the server at all.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

_FUNCTION = re.compile(r"local function (\w+)\(")
_CONSTANT = re.compile(r"local (\w+) = (?:KEYS\[1\] \.\. '[^']*'|-?[\d.]+|'[^']*')(?: --.*)?$")
_WORD = re.compile(r"[A-Za-z_]\w*")
_OWN = re.compile(r"^ local (?:function )?(\w+)", re.MULTILINE)


class _Piece(NamedTuple):
    """A function or constant of the outermost level (its name), or a line of anything else ('')."""

    name: str
    text: str


def lean(text: str) -> str:
    """The script without the functions, names of keys and constants that nothing in it leads to.

    A word of that name anywhere, even in a string, counts as a use, but for what a part made only when it is
    needed defines itself. Code of inner levels must be indented, that of such a part by one space.
    """
    pieces = list(_pieces(text.splitlines()))
    used: set[str] = set()
    kept: set[int] = set()
    found = [at for at, piece in enumerate(pieces) if not piece.name]
    while found:
        kept.update(found)
        for at in found:
            used.update(_uses(pieces[at].text))
        found = [at for at, piece in enumerate(pieces) if at not in kept and piece.name in used]
    return "\n".join(piece.text for at, piece in enumerate(pieces) if at in kept)


def _uses(text: str) -> set[str]:
    words = {word.group(): word.start() for word in reversed([*_WORD.finditer(text)])}
    own = {name.group(1) for name in _OWN.finditer(text) if words[name.group(1)] == name.start(1)}
    return words.keys() - own


def _pieces(lines: list[str]) -> Iterator[_Piece]:
    at = 0
    while at < len(lines):
        line, first = lines[at], at
        at += 1
        constant = _CONSTANT.fullmatch(line)
        function = _FUNCTION.match(line)
        if function and not line.endswith(" end"):
            while lines[at] != "end":
                at += 1
            at += 1
        name = function or constant
        yield _Piece(name.group(1) if name else "", "\n".join(lines[first:at]))
