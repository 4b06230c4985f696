"""What is wrong with a scenario, in words: which key, what it holds, what it may hold."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ..errors import nearest

_BOUNDS = {
    "greater_than": ("above", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("below", "lt"),
    "less_than_equal": ("at most", "le"),
}


def explained(source: str, items: Iterable[Any], tables: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """A line per mistake that pydantic found. ``tables``: a table's keys, by the last name of its path."""
    items = list(items)
    for item in items:
        here = item["loc"]
        inside = any(each["loc"][: len(here)] == here != each["loc"] for each in items)
        if item["type"] == "too_short" and inside:
            continue  # it is empty because what it holds is wrong
        path = ".".join(str(part) for part in here)
        if item["type"] == "extra_forbidden":
            names = [part for part in here[:-1] if isinstance(part, str)]
            known = tables.get(names[-1] if names else "", ())
            there_are = f"; there are {', '.join(known)}" if known else ""
            yield f"{source}: unknown key {path!r}{nearest(str(here[-1]), known)}{there_are}"
        else:
            yield f"{source}: {path + ': ' if path else ''}{_in_words(item)}"


def _in_words(item: Any) -> str:
    kind, context = item["type"], item.get("ctx", {})
    if kind == "missing":
        return "is missing"
    if kind == "union_tag_invalid":
        known = [each.strip(" '") for each in context["expected_tags"].split(",")]
        tag = str(context["tag"])
        return f"unknown kind {tag!r}{nearest(tag, known)}; one of {', '.join(known)}"
    if kind == "union_tag_not_found":
        return "has no kind; write it as { kind = ... }"
    if kind == "too_short":
        return "needs at least one table"
    if kind == "tuple_type":
        return f"is no list; write [[{item['loc'][-1]}]] above each of its tables"
    if kind in ("model_type", "model_attributes_type", "dict_type"):
        return "is no table; write it as { key = value }"
    if kind in _BOUNDS:
        words, bound = _BOUNDS[kind]
        return f"{item['input']!r} must be {words} {context[bound]:,}"
    words = str(item["msg"]).removeprefix("Value error, ")
    return words.replace("Input should be", f"{item['input']!r} must be")
