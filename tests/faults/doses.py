"""How much of a fault: a small dose in every test run, the full one with `make faults`.

NOOBLE_TEST_FAULTS=full chooses the full doses. Every failure prints its seed, NOOBLE_TEST_FAULTS_SEED repeats
it.
"""

from __future__ import annotations

import os
import random
import secrets
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")

FULL = os.environ.get("NOOBLE_TEST_FAULTS") == "full"
SEED = int(os.environ.get("NOOBLE_TEST_FAULTS_SEED") or secrets.randbits(32))


def dose(small: int, full: int) -> int:
    """So many of something."""
    return full if FULL else small


def some_of(items: Sequence[T], small: int) -> list[T]:
    """All of them in full doses, else so many, spread, chosen by the seed."""
    if FULL or len(items) <= small:
        return list(items)
    chosen = sorted(random.Random(SEED).sample(range(len(items)), small))
    return [items[index] for index in chosen]
