"""Who takes part in the demo and what each does: tenants of four tiers, two eager ones, one that floods."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Literal, NamedTuple

from .demo_application import Text

Role = Literal["steady", "eager", "noisy"]

FULL_S = 45.0
"""The length the numbers below are meant for; shorter demos get proportionally less work."""


class TenantPlan(NamedTuple):
    """`uploads` and `questions` are (seconds from the start, how many) in order of time.

    `callbacks`: follows its uploads by callbacks instead of waiting for responses.
    """

    tenant_id: str
    tier: str
    role: Role
    texts: Sequence[Text]
    uploads: Sequence[tuple[float, int]]
    questions: Sequence[float]
    callbacks: bool = False


class _Kind(NamedTuple):
    tier: str
    tenants: int
    uploads: int
    questions: int


# What a steady tenant does stays below its tier's limits in every service: a question or a document is one
# start there and one at the embedding service (three at most for the longest documents).
_STEADY = (
    _Kind("enterprise", 4, 60, 120),
    _Kind("professional", 7, 36, 60),
    _Kind("advance", 11, 14, 20),
    _Kind("free", 15, 3, 4),
)
_EAGER = (_Kind("professional", 1, 260, 0), _Kind("advance", 1, 80, 0))
_NOISY = _Kind("free", 1, 3_000, 0)
_NOISY_TEXT = 600
_LIMITED_TEXT = 40_000


def library_plan(texts: Sequence[Text], seconds: float) -> list[TenantPlan]:
    """40 tenants working for `seconds`. The same plan every time."""
    chance = random.Random(7)
    scale = min(seconds / FULL_S, 1.0)
    plans: list[TenantPlan] = []
    for kind in _STEADY:
        plans += [
            _steady(kind, number, texts, seconds, scale, chance) for number in range(1, kind.tenants + 1)
        ]
    for kind in _EAGER:
        uploads = ((seconds * 0.05, kind.uploads),)
        plans.append(TenantPlan(f"{kind.tier}-eager", kind.tier, "eager", _short(texts), uploads, ()))
    plans.append(_noisy(texts, seconds, scale))
    return plans


def folder_plan(texts: Sequence[Text], seconds: float) -> list[TenantPlan]:
    """Three tenants with the user's own texts: everything at once for enterprise, a few for the others."""
    plans = []
    for tier, most, asked in (("enterprise", len(texts), 60), ("professional", 60, 30), ("free", 3, 4)):
        mine = texts[:most] if tier == "enterprise" else _short(texts)[:most]
        if not mine:
            continue
        questions = min(asked, sum(len(text.questions) for text in mine))
        times = [seconds * (0.1 + 0.8 * n / max(questions, 1)) for n in range(questions)]
        plans.append(
            TenantPlan(f"{tier}-1", tier, "steady", mine, ((0.0, len(mine)),), times, tier == "professional")
        )
    return plans


def _steady(
    kind: _Kind, number: int, texts: Sequence[Text], seconds: float, scale: float, chance: random.Random
) -> TenantPlan:
    """Three bursts of uploads in the first half, questions all along."""
    uploads = max(round(kind.uploads * scale), 2)
    questions = max(round(kind.questions * scale), 2)
    first = max(uploads // 3, 1)
    bursts = [(seconds * 0.02 * number / kind.tenants, first)]
    for at, many in ((0.2, (uploads - first) // 2), (0.45, uploads - first - (uploads - first) // 2)):
        if many:
            bursts.append((seconds * (at + 0.05 * chance.random()), many))
    times = sorted(seconds * chance.uniform(0.12, 0.92) for _ in range(questions))
    own = texts if kind.tier == "enterprise" else _short(texts)
    offset = chance.randrange(len(own))
    mine = [own[(offset + n) % len(own)] for n in range(min(uploads, len(own)))]
    return TenantPlan(
        f"{kind.tier}-{number:02}", kind.tier, "steady", mine, bursts, times, callbacks=number % 4 == 0
    )


def _noisy(texts: Sequence[Text], seconds: float, scale: float) -> TenantPlan:
    """Thousands of notes at once."""
    many = max(round(_NOISY.uploads * scale), 300)
    notes = [
        Text(f"note-{n}", f"note {n}", texts[n % len(texts)].text[:_NOISY_TEXT], ()) for n in range(many)
    ]
    return TenantPlan("free-noisy", "free", "noisy", notes, ((seconds * 0.1, many),), ())


def _short(texts: Sequence[Text]) -> list[Text]:
    """Those that need one request for vectors."""
    return [text for text in texts if len(text.text) <= _LIMITED_TEXT]
