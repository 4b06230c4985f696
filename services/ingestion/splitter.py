"""Cut a text into overlapping passages that end where a reader would pause."""

from __future__ import annotations

import re
from dataclasses import dataclass

_PARAGRAPH = re.compile(r"\n[ \t]*\n\s*")
_SENTENCE = re.compile(r"\n[ \t]*\n\s*|[.!?…]['\"”’)\]]*\s+|[。！？]\s*")
_LINE = re.compile(r"\n\s*")
_WORD = re.compile(r"\s+")
_BEST_FIRST = (_PARAGRAPH, _SENTENCE, _LINE, _WORD)


@dataclass(frozen=True, slots=True)
class Passage:
    """`text` is `source[start:end]` exactly, so a passage can be shown in its place."""

    number: int
    start: int
    end: int
    text: str


def split(text: str, *, target: int = 600, maximum: int = 800, overlap: int = 100) -> list[Passage]:
    """Passages of at most `maximum` characters, cut at the best boundary near `target`.

    Only white space is left out between passages. A passage may repeat up to `overlap` characters of the one
    before (whole sentences, else whole words), so a statement that crosses a cut is found in one of the two.
    Raises ValueError unless 0 <= 2 * overlap < target <= maximum: every passage must bring something new.
    """
    if not 0 <= 2 * overlap < target <= maximum:
        raise ValueError(f"need 0 <= 2 * overlap < target <= maximum, not {overlap=}, {target=}, {maximum=}")
    passages: list[Passage] = []
    start = _skip_space(text, 0)
    while start < len(text):
        end = _cut(text, start, target, maximum)
        following = _skip_space(text, end)
        end = start + len(text[start:end].rstrip())
        passages.append(Passage(len(passages), start, end, text[start:end]))
        if following >= len(text):
            break
        start = _next_start(text, end, following, overlap)
    return passages


def _cut(text: str, start: int, target: int, maximum: int) -> int:
    """Where the passage that begins at `start` ends; white space may stand before that place."""
    if len(text) - start <= maximum:
        return len(text)
    limit = start + maximum
    for boundary in _BEST_FIRST:
        best = 0
        for match in boundary.finditer(text, start + target // 2, limit + 1):
            best = min(match.end(), limit)
            if best - start >= target:
                break
        if best:
            return best
    return limit  # one enormous word


def _next_start(text: str, end: int, following: int, overlap: int) -> int:
    """A place at most `overlap` characters before `end` where a sentence begins, else a word; else
    `following`.
    """
    for boundary in (_SENTENCE, _WORD) if overlap else ():
        match = boundary.search(text, end - overlap, end)
        if match and match.end() < end:
            return match.end()
    return following


def _skip_space(text: str, position: int) -> int:
    while position < len(text) and text[position].isspace():
        position += 1
    return position
