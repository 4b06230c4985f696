"""Curves and bars as inline SVG.

Two kinds of plot, no interaction: a plotting library would bring tens of megabytes and other bytes with each
of its releases. These are the same for the same figures, and a text a test can read.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from itertools import pairwise

_COLOURS = ("#2f6fdb", "#d9822b", "#2e9e6b", "#b04fc4", "#c2372e", "#5d7d8c", "#9a8a1f", "#3aa6b9")
_WIDTH, _HEIGHT = 860, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 40, 34, 30
_LONGEST_LABEL = 44
_S, _MIN, _H, _D = 1_000, 60_000, 3_600_000, 86_400_000
_WAITS = (
    (10, "10 ms"),
    (100, "100 ms"),
    (_S, "1 s"),
    (10 * _S, "10 s"),
    (_MIN, "1 min"),
    (10 * _MIN, "10 min"),
    (2 * _H, "2 h"),
    (_D, "1 day"),
    (10 * _D, "10 days"),
    (100 * _D, "100 days"),
    (1_000 * _D, "1,000 days"),
)
"""What the scale of waits shows: each some ten times the one before, in words that need no reckoning."""

_TICKS = tuple(
    (number * unit, unit, word)
    for unit, word, numbers in (
        (1, "ms", (1, 2, 5, 10, 20, 50, 100, 200, 500)),
        (_S, "s", (1, 2, 5, 10, 15, 30)),
        (_MIN, "min", (1, 2, 5, 10, 15, 30)),
        (_H, "h", (1, 2, 3, 6, 12)),
        (_D, "days", (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000)),
    )
    for number in numbers
)
_MOST_TICKS = 6


def colour_of(number: int) -> str:
    """The colour of the so-manieth tier."""
    return _COLOURS[number % len(_COLOURS)]


def curves(series: Mapping[str, Sequence[tuple[int, int]]]) -> str:
    """Durations over time, one line each, on a logarithmic scale."""
    points = [point for line in series.values() for point in line]
    moments = sorted({at for at, _ in points})
    step_ms = min((later - at for at, later in pairwise(moments)), default=1)
    until_ms = max(moments, default=0) + step_ms
    longest = max((ms for _, ms in points), default=0)
    shown = sum(ms < longest for ms, _ in _WAITS) + 1
    top = max(longest, _WAITS[min(shown, len(_WAITS)) - 1][0])

    def x(at_ms: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * at_ms / until_ms

    def y(ms: float) -> float:
        return _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * math.log10(ms + 1) / math.log10(top + 1)

    parts = []
    for ms, label in ((0, "0"), *_WAITS[:shown]):
        parts.append(_rule(_LEFT, y(ms), _WIDTH - _RIGHT, y(ms)))
        parts.append(_text(_LEFT - 8, y(ms) + 4, label, "end"))
    parts += [_text(x(at), _HEIGHT - 8, label, "middle") for at, label in moments_of(until_ms)]
    for number, (name, line) in enumerate(series.items()):
        colour = colour_of(number)
        for piece in _pieces(line, step_ms):
            path = " ".join(f"{x(at):.1f},{y(ms):.1f}" for at, ms in piece)
            parts.append(f'<polyline fill="none" stroke="{colour}" stroke-width="2" points="{path}"/>')
            parts += [
                f'<circle cx="{x(at):.1f}" cy="{y(ms):.1f}" r="2.5" fill="{colour}"/>' for at, ms in piece
            ]
        parts.append(_box(_LEFT + number * 150, 8, 12, 12, colour))
        parts.append(_text(_LEFT + number * 150 + 18, 18, name, "start"))
    return _svg(_HEIGHT, parts)


def moments_of(until_ms: int) -> list[tuple[int, str]]:
    """A few round moments from the beginning on: 0, 6 h, 12 h, 18 h, 24 h."""
    every, unit, word = next((tick for tick in _TICKS if until_ms <= tick[0] * _MOST_TICKS), _TICKS[-1])
    upto = round(until_ms * 1.01)  # the last arrival comes a little before a round end
    return [(at, f"{at // unit:,} {word}" if at else "0") for at in range(0, upto + 1, every)]


def _pieces(line: Sequence[tuple[int, int]], step_ms: int) -> list[list[tuple[int, int]]]:
    """A line is broken where nothing arrived: there is no wait to show."""
    pieces: list[list[tuple[int, int]]] = []
    for point in line:
        if pieces and point[0] - pieces[-1][-1][0] <= step_ms:
            pieces[-1].append(point)
        else:
            pieces.append([point])
    return pieces


def bars(rows: Sequence[tuple[str, float, str, str]]) -> str:
    """Horizontal bars: (label, value, the value in words, colour)."""
    most, step, left, right = max((row[1] for row in rows), default=0) or 1, 26, 300, 90
    parts = []
    for number, (label, value, words, colour) in enumerate(rows):
        top, length = number * step + 4, (_WIDTH - left - right) * value / most
        short = label if len(label) <= _LONGEST_LABEL else f"{label[: _LONGEST_LABEL - 1]}…"
        parts.append(_text(left - 8, top + 14, short, "end"))
        parts.append(_box(left, top, max(length, 1), 18, colour))
        parts.append(_text(left + length + 6, top + 14, words, "start"))
    return _svg(len(rows) * step + 8, parts)


def _svg(height: int, parts: Sequence[str]) -> str:
    return f'<svg viewBox="0 0 {_WIDTH} {height}" role="img">\n' + "\n".join(parts) + "\n</svg>"


def _text(x: float, y: float, words: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'


def _rule(x1: float, y1: float, x2: float, y2: float) -> str:
    where = f'x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
    return f'<line {where} stroke="currentColor" stroke-opacity="0.15"/>'


def _box(x: float, y: float, width: float, height: float, colour: str) -> str:
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" fill="{colour}" rx="2"/>'
