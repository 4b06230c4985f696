"""Names and values in messages."""

from __future__ import annotations

import difflib
import reprlib
from collections.abc import Iterable

_shortener = reprlib.Repr()
_shortener.maxstring = _shortener.maxother = _shortener.maxlong = 60


def shorten(value: object) -> str:
    """A value for a message: its repr, so control characters are escaped, cut to a readable length."""
    return _shortener.repr(value)


def closest(name: object, known: Iterable[str]) -> str | None:
    """The known name that resembles `name` most, None when none does."""
    close = difflib.get_close_matches(str(name)[:200], list(known), n=1)
    return close[0] if close else None


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """`; did you mean 'x'?`, or nothing when no known name is near."""
    near = closest(name, known)
    return f"; did you mean {near!r}?" if near else ""
