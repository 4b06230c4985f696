"""Long lists in pieces: what one script call takes, so that no call keeps the server from others for long."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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


def sized_batches(items: Sequence[T], sizes: Sequence[int], most: int = MAX_ITEMS) -> Iterator[Sequence[T]]:
    """Pieces of at most ``most`` items and at most ``MAX_CALL_BYTES``, or of one item."""
    if len(items) <= most and sum(sizes) <= MAX_CALL_BYTES:
        if items:
            yield items
        return
    start = total = 0
    for index, size in enumerate(sizes):
        total += size
        if index > start and (index - start >= most or total > MAX_CALL_BYTES):
            yield items[start:index]
            start, total = index, size
    yield items[start:]
