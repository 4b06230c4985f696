"""Curves and bars as inline SVG.

Two kinds of plot, no interaction: a plotting library would bring tens of megabytes and other bytes with each
of its releases. These are the same for the same figures, and a text a test can read.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from itertools import pairwise

from .figures import duration

_COLOURS = ("#2f6fdb", "#d9822b", "#2e9e6b", "#b04fc4", "#c2372e", "#5d7d8c", "#9a8a1f", "#3aa6b9")
_WIDTH, _HEIGHT = 860, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 40, 34, 30
_LONGEST_LABEL = 44


def colour_of(number: int) -> str:
    """The colour of the so-manieth tier."""
    return _COLOURS[number % len(_COLOURS)]


def curves(series: Mapping[str, Sequence[tuple[int, int]]]) -> str:
    """Durations over time, one line each, on a logarithmic scale that begins at 1 ms."""
    points = [point for line in series.values() for point in line]
    last_ms = max((at for at, _ in points), default=0) or 1
    moments = sorted({at for at, _ in points})
    step_ms = min((later - at for at, later in pairwise(moments)), default=1)
    decades = max(math.ceil(math.log10(max((ms for _, ms in points), default=1) + 1)), 1)

    def x(at_ms: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * at_ms / last_ms

    def y(ms: float) -> float:
        return _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * math.log10(ms + 1) / decades

    parts = []
    for decade in range(decades + 1):
        at = y(10**decade - 1)
        label = duration(10**decade) if decade else "0"
        parts.append(_rule(_LEFT, at, _WIDTH - _RIGHT, at))
        parts.append(_text(_LEFT - 8, at + 4, label, "end"))
    for step in range(5):
        at_ms = last_ms * step / 4
        parts.append(_text(x(at_ms), _HEIGHT - 8, duration(at_ms) if step else "0", "middle"))
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
