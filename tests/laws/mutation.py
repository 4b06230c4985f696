"""Scripts broken on purpose: a law's test that stays green with its script broken proves nothing."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

from scheduler import scripts


def broken(verb: str, sound: str, unsound: str) -> scripts.Script:
    """The composed script with one piece of it replaced, in every copy of the part that it stands in.

    A part made only when needed brings copies of what it includes; but for them the piece is there once.
    """
    script = scripts.load(verb)
    flat = re.sub("^ +", "", script.text, flags=re.MULTILINE)
    around = set(re.findall(rf"^(?:.*\n)?.*{re.escape(sound)}.*$", flat, re.MULTILINE))
    assert len(around) == 1, f"{verb}.lua holds {sound!r} in {len(around)} places"
    text = script.text.replace(sound, unsound)
    return script._replace(text=text, sha=hashlib.sha1(text.encode()).hexdigest())


@contextmanager
def mutated(verb: str, sound: str, unsound: str) -> Iterator[None]:
    """The engine runs the broken script meanwhile."""
    wrong, load = broken(verb, sound, unsound), scripts.load
    with mock.patch.object(scripts, "load", lambda name: wrong if name == verb else load(name)):
        yield
