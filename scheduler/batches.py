"""Long lists in pieces: what one script call takes, so that no call keeps the server from others for long."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

MAX_ITEMS = 500
"""Items per script call."""

MAX_CALL_BYTES = 4 * 1024 * 1024
"""Payload or response bytes per script call: a long script blocks the server for everybody."""

T = TypeVar("T")


def batches(items: Sequence[T], size: int = MAX_ITEMS) -> Iterator[Sequence[T]]:
    """Pieces of at most ``size`` items."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def sized_batches(
    items: Sequence[T], size_of: Callable[[T], int], most: int = MAX_ITEMS
) -> Iterator[Sequence[T]]:
    """Pieces of at most ``most`` items and at most ``MAX_CALL_BYTES``, or of one item."""
    start = size = 0
    for index, item in enumerate(items):
        size += size_of(item)
        if index > start and (index - start >= most or size > MAX_CALL_BYTES):
            yield items[start:index]
            start, size = index, size_of(item)
    if start < len(items):
        yield items[start:]
