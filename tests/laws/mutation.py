"""Scripts broken on purpose: a law's test that stays green with its script broken proves nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

from scheduler import scripts


def broken(verb: str, sound: str, unsound: str) -> scripts.Script:
    """The composed script with one piece of it replaced; the piece must be there exactly once."""
    script = scripts.load(verb)
    assert script.text.count(sound) == 1, f"{verb}.lua holds {sound!r} {script.text.count(sound)} times"
    text = script.text.replace(sound, unsound)
    return script._replace(text=text, sha=hashlib.sha1(text.encode()).hexdigest())


@contextmanager
def mutated(verb: str, sound: str, unsound: str) -> Iterator[None]:
    """The engine runs the broken script meanwhile."""
    wrong, load = broken(verb, sound, unsound), scripts.load
    with mock.patch.object(scripts, "load", lambda name: wrong if name == verb else load(name)):
        yield
