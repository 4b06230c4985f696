"""Small plots as SVG, drawn by hand so that the same figures always give the same file."""

from __future__ import annotations

import math
from typing import NamedTuple

from .figures import Table, number

_WIDTH, _HEIGHT = 560, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 36, 38, 44
_INK, _FAINT, _LINES = "#333", "#ddd", ("#1f6feb", "#d1242f")


class Line(NamedTuple):
    """A line of a plot: (x, y) in data units."""

    name: str
    points: list[tuple[float, float]]


def growth(scaling: Table) -> dict[str, str]:
    """File name -> SVG: what a claim costs, and what memory holds, by how many tenants wait."""
    waiting = {int(name.replace(",", "")): row for name, row in scaling.items() if "idle" not in name}
    sizes = sorted(waiting)

    def line(name: str, figure: str) -> Line:
        return Line(name, [(float(size), waiting[size][figure].median) for size in sizes])

    return {
        "growth-cost.svg": plot(
            "Server time of finish + claim by waiting tenants",
            "µs per action",
            [line("scripts on the server", "server_us_per_action")],
        ),
        "growth-memory.svg": plot(
            "Data by waiting tenants, one action each", "MB", [line("data", "data_mb")], log_y=True
        ),
    }


def plot(title: str, unit: str, lines: list[Line], *, log_y: bool = False) -> str:
    """Lines over a logarithmic number of tenants."""
    xs = [x for line in lines for x, _ in line.points]
    ys = [y for line in lines for _, y in line.points]
    least, most = _decades(ys) if log_y else (0.0, _ceiling(max(ys)))
    x_low, x_high = _decades(xs)

    def place(x: float, y: float) -> tuple[float, float]:
        across = (math.log10(x) - x_low) / ((x_high - x_low) or 1)
        height = math.log10(y) if log_y else y
        up = (height - least) / ((most - least) or 1)
        return (
            _LEFT + across * (_WIDTH - _LEFT - _RIGHT),
            _HEIGHT - _BOTTOM - up * (_HEIGHT - _TOP - _BOTTOM),
        )

    y_ticks = (
        [10.0**n for n in range(int(least), int(most) + 1)] if log_y else [most * n / 4 for n in range(5)]
    )
    low = 10**least if log_y else least
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#fff"/>',
        f'<text x="{_LEFT}" y="20" fill="{_INK}" font-size="14">{title}, {unit}</text>',
    ]
    for y in y_ticks:
        _, at = place(10**x_low, y)
        parts += [
            f'<path d="M{_LEFT} {at:.1f}H{_WIDTH - _RIGHT}" stroke="{_FAINT}"/>',
            f'<text x="{_LEFT - 6}" y="{at + 4:.1f}" fill="{_INK}" text-anchor="end">{_tick(y)}</text>',
        ]
    for n in range(int(x_low), int(x_high) + 1):
        across, at = place(10.0**n, low)
        label = (
            f'<text x="{across:.1f}" y="{at + 18:.1f}" fill="{_INK}" text-anchor="middle">{10**n:,}</text>'
        )
        parts.append(label)
    parts.append(
        f'<text x="{_WIDTH - _RIGHT}" y="{_HEIGHT - 8}" fill="{_INK}" text-anchor="end">tenants</text>'
    )
    for line, colour in zip(lines, _LINES, strict=False):
        spots = [place(x, y) for x, y in line.points]
        way = "L".join(f"{x:.1f} {y:.1f}" for x, y in spots)
        parts.append(f'<path d="M{way}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for at, ((x, y), (_, value)) in enumerate(zip(spots, line.points, strict=True)):
            anchor = "middle" if at else "start"  # the first stands beside the axis
            parts += [
                f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>',
                f'<text x="{x:.1f}" y="{y - 8:.1f}" fill="{colour}" text-anchor="{anchor}">'
                f"{number(value)}</text>",
            ]
    return "\n".join([*parts, "</svg>", ""])


def _decades(values: list[float]) -> tuple[float, float]:
    return math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))


def _ceiling(value: float) -> float:
    """The next 1, 2 or 5 times a power of ten, with a little room."""
    step: float = 10.0 ** math.floor(math.log10(value * 1.1))
    return next(step * factor for factor in (1, 2, 4, 6, 8, 10) if step * factor >= value * 1.1)


def _tick(value: float) -> str:
    return f"{value:g}" if value < 1_000 else f"{value:,.0f}"
